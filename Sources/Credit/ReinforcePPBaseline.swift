import Parameters

/// REINFORCE++ with a group baseline (arXiv 2501.03262): R - mean of the group (a group of one keeps its reward),
/// whitened over the *steps* of the optimiser step: every trajectory counts with its length. (x - mean) / sqrt(var +
/// 1e-8), unbiased variance.
public struct ReinforcePPBaseline: AdvantageEstimator {
  public static let name = "reinforce_pp_baseline"
  public static let summary = "R - mean in the group, whitened over the steps of the batch (2501.03262)"
  public static let parameters: [Parameter] = []

  public init(_ values: ParameterValues) {}

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try whitened(step.centredRewards(), counts: step.trajectories.map(\.length)).map { Credit(of: $0) }
  }
}
