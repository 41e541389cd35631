/// Rank-GRPO's advantage for each position of a recommended list (arXiv 2510.20150): A_ik = (r_ik - mean over the group
/// at position k) / (std + 1e-4), unbiased; without `scales` there is no division.
///
/// A function, not an estimator that can be trained with: a run has one reward a completion, not one for each item of
/// its answer. Soft tokens: items exist in the discrete answer alone.
///
/// - Parameter rewards: of each member, one a position; all of one length.
public func rankAdvantages(rewards: [[Double]], scales: Bool = true, epsilon: Double = 1e-4) throws -> [[Double]] {
  guard let positions = rewards.first?.count, rewards.allSatisfy({ $0.count == positions }) else {
    throw CreditError("rank: every member of a group needs a reward for every position")
  }
  var advantages = rewards
  for position in 0..<positions {
    let statistics = Statistics(rewards.map { $0[position] })
    let divisor = scales ? statistics.deviation + epsilon : 1
    for member in rewards.indices {
      advantages[member][position] = (rewards[member][position] - statistics.mean) / divisor
    }
  }
  return advantages
}
