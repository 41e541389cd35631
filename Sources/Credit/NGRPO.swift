import Parameters

/// NGRPO (arXiv 2509.18851): mean and unbiased std of a group over its rewards *and* `ngrpo_count` virtual ones of the
/// maximal reward, so that a group that is all wrong pushes away: A = (R - mean') / (std' + 1e-6), -1 / sqrt(G + 1)
/// each. A group that is all right has A = 0; one of a single member keeps its reward. The authors clip with 0.16 and
/// 0.24.
public struct NGRPO: AdvantageEstimator {
  public static let name = "ngrpo"
  public static let summary = "GRPO with virtual samples of maximal reward in the group's statistics (2509.18851)"
  public static let parameters: [Parameter] = [
    .number("ngrpo_maximum_reward", 1, .any, "Reward of a virtual sample."),
    .integer("ngrpo_count", 1, 0...1024, "Virtual samples of a group."),
    .number("advantage_epsilon", 1e-6, .between(0, 1), "Added to a group's standard deviation."),
  ]

  public var maximumReward: Double
  public var count: Int
  public var epsilon: Double

  public init(_ values: ParameterValues) {
    maximumReward = values.number("ngrpo_maximum_reward")
    count = values.integer("ngrpo_count")
    epsilon = values.number("advantage_epsilon")
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { _, rewards in
      guard rewards.count > 1 else { return rewards.map { Credit(of: $0) } }
      let statistics = Statistics(rewards + [Double](repeating: maximumReward, count: count))
      return rewards.map { Credit(of: ($0 - statistics.mean) / (statistics.deviation + epsilon)) }
    }
  }
}
