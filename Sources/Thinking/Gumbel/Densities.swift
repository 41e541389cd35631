import Kernels

/// Constants of the Gumbel densities, as in the authors' code.
enum GumbelDensity {
  /// Added to renormalised probabilities before the logarithm.
  static let epsilon = 1e-6
  /// `reference`: noise and u are clamped to this range.
  static let clamp: ClosedRange<Double> = -1.5...3
  /// `reference`: components at or below this log-probability do not enter the score.
  static let maskLogProb = -3.0
  /// `reference`: no gradient within this distance of a clamp edge, where noise clamped at sampling comes back up to rounding.
  static let edge = 1e-3
}
