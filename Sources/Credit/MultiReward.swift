import Parameters

/// Several rewards with one advantage (NVIDIA GDPO, arXiv 2601.05242).
///
/// `normalise_then_sum`: each reward is normalised in its group first, so that none drowns the others, z_k = (r_k -
/// mean) / (std + 1e-4); then sum_k w_k z_k is whitened over the trajectories of the step, (x - mean) / (std + 1e-4).
/// With `multi_whitening: tokens` over its scored steps instead, (x - mean) / sqrt(var + 1e-8), as in the authors'
/// second trainer, which adds 1e-6 in the groups (`multi_epsilon`).
///
/// `sum_then_normalise`: sum_k w_k r_k, less its group's mean, divided by the std of the group, of the step, or not
/// (`multi_scale`).
///
/// All deviations are unbiased. The weights are those of the run's rewards.
public struct MultiReward: AdvantageEstimator {
  public static let name = "multi_reward"
  public static let summary = "Normalises each reward in the group, then sums them (GDPO, 2601.05242)"
  public static let parameters: [Parameter] = [
    .choice(
      "multi_order", "normalise_then_sum", of: ["normalise_then_sum", "sum_then_normalise"],
      "Whether rewards are normalised one by one, or their sum."),
    .choice(
      "multi_scale", "group", of: ["group", "batch", "none"], "What a sum of rewards is divided by the deviation of."),
    .choice(
      "multi_whitening", "trajectories", of: ["trajectories", "tokens"],
      "What the sum of normalised rewards is whitened over."),
    .number("multi_epsilon", 1e-4, .between(0, 1), "Added to standard deviations."),
  ]

  public var sumsFirst: Bool
  public var scale: String
  public var whitensTokens: Bool
  public var epsilon: Double

  public init(_ values: ParameterValues) {
    sumsFirst = values.text("multi_order") == "sum_then_normalise"
    scale = values.text("multi_scale")
    whitensTokens = values.text("multi_whitening") == "tokens"
    epsilon = values.number("multi_epsilon")
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    let groups = try step.groups()
    let kinds = step.trajectories.first?.rewards.count ?? 0
    let weights = step.rewardWeights.isEmpty ? [Double](repeating: 1, count: kinds) : step.rewardWeights
    guard kinds > 0, weights.count == kinds, step.trajectories.allSatisfy({ $0.rewards.count == kinds }) else {
      throw CreditError(
        "advantage multi_reward needs each reward alone: got \(step.trajectories.map(\.rewards.count)) rewards for "
          + "\(weights.count) weights")
    }
    var sums = [Double](repeating: 0, count: step.trajectories.count)
    for (kind, weight) in weights.enumerated() {
      for members in groups {
        let rewards = members.map { Double(step.trajectories[$0].rewards[kind]) }
        let statistics = Statistics(rewards)
        for (member, reward) in zip(members, rewards) {
          sums[member] +=
            weight * (sumsFirst ? reward : (reward - statistics.mean) / (statistics.deviation + epsilon))
        }
      }
    }
    let batch = Statistics(sums)
    if !sumsFirst {
      if whitensTokens { return whitened(sums, counts: step.trajectories.map(\.length)).map { Credit(of: $0) } }
      return sums.map { Credit(of: ($0 - batch.mean) / (batch.deviation + epsilon)) }
    }
    var result = sums
    for members in groups {
      let statistics = Statistics(members.map { sums[$0] })
      let divisor =
        switch scale {
        case "group": statistics.deviation + epsilon
        case "batch": batch.deviation + epsilon
        default: 1.0
        }
      for member in members { result[member] = (sums[member] - statistics.mean) / divisor }
    }
    return result.map { Credit(of: $0) }
  }
}
