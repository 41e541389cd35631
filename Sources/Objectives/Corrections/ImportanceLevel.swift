/// What one importance weight belongs to.
public enum ImportanceLevel: String, Sendable, Codable, CaseIterable {
  /// Each slot has its own.
  case token
  /// All slots of a trajectory have the product of theirs (verl, TRL).
  case sequence
  /// All slots have the geometric mean of theirs (AReaL, which calls it a sequence weight as well).
  case geometricMean = "geometric_mean"
}

/// log pi_numerator - log pi_denominator of each slot, at the level of the weights.
///
/// - Parameter bound: the log-ratio, of the product at sequence level, is held within this, both ways; nil: it is not.
/// - Throws: `ObjectiveError` when the lists are not parallel.
public func importanceLogRatios(
  _ numerator: [Float], over denominator: [Float], level: ImportanceLevel, bound: Double? = Double(maximumLogRatio)
) throws -> [Double] {
  guard numerator.count == denominator.count else {
    throw ObjectiveError(
      "importance weights: \(numerator.count) log-probs against \(denominator.count) (a trajectory without log_probs has none)"
    )
  }
  func bounded(_ logRatio: Double) -> Double {
    guard let bound else { return logRatio }
    // NaN stays: the comparisons are false.
    return logRatio > bound ? bound : logRatio < -bound ? -bound : logRatio
  }
  let logRatios = zip(numerator, denominator).map { Double($0) - Double($1) }
  guard level != .token else { return logRatios.map(bounded) }
  let sum = logRatios.reduce(0, +)
  let own = level == .sequence ? sum : sum / Double(max(logRatios.count, 1))
  return [Double](repeating: bounded(own), count: logRatios.count)
}
