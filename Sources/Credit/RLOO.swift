import Parameters

/// R - mean of the *other* members of the group (RLOO, arXiv 2402.14740).
public struct RLOO: AdvantageEstimator {
  public static let name = "rloo"
  public static let summary = "R - mean of the other members of the group (2402.14740)"
  public static let parameters: [Parameter] = []
  public static let minimumGroupSize = 2

  public init(_ values: ParameterValues) {}

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    // R - (sum - R) / (G - 1) = (R - mean) G / (G - 1)
    try groupRelative(step) { count, _ in count / (count - 1) }
  }
}
