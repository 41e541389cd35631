import Parameters

/// Pass@k advantage (arXiv 2503.19595): the best member of a group gets (R_max - R_second) / (std + 1e-6), all others
/// 0; without `pass_at_k_normalise` there is no division. Of equal best ones nobody gets anything.
public struct PassAtKAdvantage: AdvantageEstimator {
  public static let name = "pass_at_k"
  public static let summary = "Only the best of a group is rewarded, by its lead over the second (2503.19595)"
  public static let parameters: [Parameter] = [
    .flag("pass_at_k_normalise", true, "Divides the lead by the group's standard deviation."),
    .number("advantage_epsilon", 1e-6, .between(0, 1), "Added to a group's standard deviation."),
  ]
  public static let minimumGroupSize = 2

  public var normalises: Bool
  public var epsilon: Double

  public init(_ values: ParameterValues) {
    normalises = values.flag("pass_at_k_normalise")
    epsilon = values.number("advantage_epsilon")
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { members, rewards in
      guard members.count > 1, let best = rewards.max(), let place = rewards.firstIndex(of: best) else {
        throw CreditError("advantage pass_at_k needs groups of at least 2, and one has \(members.count)")
      }
      var others = rewards
      others.remove(at: place)
      let lead = best - (others.max() ?? best)
      let divisor = normalises ? Statistics(rewards).deviation + epsilon : 1
      return rewards.indices.map { Credit(of: $0 == place ? lead / divisor : 0) }
    }
  }
}
