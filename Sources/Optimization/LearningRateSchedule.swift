#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Linear warm-up, then constant, linear or cosine decay.
public struct LearningRateSchedule: Sendable, Equatable, Hashable, Codable {
  /// What follows the warm-up (config key `learning_rate_schedule`).
  public enum Shape: String, Sendable, Codable, CaseIterable {
    case constant, linear, cosine
  }

  public var shape: Shape
  /// The first step has 1/warmupSteps of the rate, step `warmupSteps - 1` all of it; 0: no warm-up.
  public var warmupSteps: Int
  /// The step at which the decay reaches its minimum; `constant` does not look at it.
  public var totalSteps: Int
  /// Share of the rate that remains at and after `totalSteps`.
  public var minimumRatio: Double

  public init(shape: Shape = .constant, warmupSteps: Int = 0, totalSteps: Int = 0, minimumRatio: Double = 0) {
    self.shape = shape
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
    self.minimumRatio = minimumRatio
  }

  /// The factor on the base rate at `step`, counted from 0. Unlike schedules that start at zero, no step is wasted.
  public func factor(step: Int) -> Double {
    if step < warmupSteps { return Double(max(step, 0) + 1) / Double(warmupSteps) }
    guard shape != .constant else { return 1 }
    let span = max(totalSteps - warmupSteps, 1)
    let progress = min(Double(step - warmupSteps) / Double(span), 1)
    let remaining = shape == .linear ? 1 - progress : 0.5 * (1 + cos(Double.pi * progress))
    return minimumRatio + (1 - minimumRatio) * remaining
  }
}
