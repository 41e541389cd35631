import Parameters

/// REINFORCE++ (arXiv 2501.03262): the discounted return of token rewards, whitened over all scored steps of the
/// optimiser step: G_t = sum_{s >= t} gamma^(s - t) r_s, A = (G - mean) / sqrt(var + 1e-8), unbiased variance. In a run
/// the trajectory's reward is that of its last step, and all others have none. There are no groups.
public struct ReinforcePP: AdvantageEstimator {
  public static let name = "reinforce_pp"
  public static let summary = "Discounted returns, whitened over the steps of the batch (2501.03262)"
  public static let parameters: [Parameter] = [
    .number("return_gamma", 1, .above(0, upTo: 1), "Discount of a reward a step earlier.")
  ]

  public var gamma: Double

  public init(_ values: ParameterValues) { gamma = values.number("return_gamma") }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    // Checks that the rewards are finite.
    _ = try step.groups()
    let rewards = step.trajectories.map { trajectory in
      var rewards = [Double](repeating: 0, count: max(trajectory.length, 1))
      rewards[rewards.count - 1] = Double(trajectory.reward)
      return rewards
    }
    return advantages(tokenRewards: rewards).advantages.map { Credit($0.map(Float.init)) }
  }

  /// Returns and advantages from a reward for each step of each trajectory.
  public func advantages(tokenRewards: [[Double]]) -> (advantages: [[Double]], returns: [[Double]]) {
    let returns = tokenRewards.map { rewards in
      var (result, running) = (rewards, 0.0)
      for step in rewards.indices.reversed() {
        running = rewards[step] + gamma * running
        result[step] = running
      }
      return result
    }
    let flat = returns.flatMap { $0 }
    let white = whitened(flat, counts: [Int](repeating: 1, count: flat.count))
    var start = 0
    let advantages = returns.map { own in
      defer { start += own.count }
      return Array(white[start..<start + own.count])
    }
    return (advantages, returns)
  }
}
