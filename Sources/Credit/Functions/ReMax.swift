/// ReMax (arXiv 2310.10505): the return to go of each step, less the reward of the prompt's greedy completion.
///
/// A function, not an estimator that can be trained with: a run decodes no greedy completion beside its samples. Soft
/// tokens: the greedy completion is one without noise; otherwise nothing changes.
///
/// - Parameters:
///   - tokenRewards: of each trajectory, one a step.
///   - greedyRewards: of each trajectory's prompt.
public func remaxAdvantages(tokenRewards: [[Double]], greedyRewards: [Double]) throws -> [[Double]] {
  guard tokenRewards.count == greedyRewards.count else {
    throw CreditError("remax: \(tokenRewards.count) trajectories but \(greedyRewards.count) greedy rewards")
  }
  return zip(tokenRewards, greedyRewards).map { rewards, baseline in
    var (result, running) = (rewards, 0.0)
    for step in rewards.indices.reversed() {
      running += rewards[step]
      result[step] = running - baseline
    }
    return result
  }
}
