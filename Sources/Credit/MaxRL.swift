import Parameters

/// MaxRL (arXiv 2602.02710): A = (R - mean) / mean in the group, for rewards of at least 0: a rare success weighs as
/// much as it is rare, as the gradient of log(mean reward) has it. A group without any reward has no gradient.
public struct MaxRL: AdvantageEstimator {
  public static let name = "max_rl"
  public static let summary = "(R - mean) / mean in the group (2602.02710)"
  public static let parameters: [Parameter] = []
  public static let minimumGroupSize = 2

  public init(_ values: ParameterValues) {}

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { _, rewards in
      if let negative = rewards.first(where: { $0 < 0 }) {
        throw CreditError(
          "advantage max_rl divides by the mean reward, which must not be negative, and one is \(negative)")
      }
      let mean = Statistics(rewards).mean
      return rewards.map { Credit(of: mean == 0 ? 0 : ($0 - mean) / mean) }
    }
  }
}
