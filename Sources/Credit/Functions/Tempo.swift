/// TEMPO (arXiv 2509.18314): temporal differences on the prefix tree of a group,
///
///     A_it = (R_i - mean + mean R(members that share the prefix through t) - mean R(members that share it through t - 1)) / (std + 1e-6)
///
/// with the unbiased std of the group; without `normalises` there is no division. Once a prefix is a trajectory's own,
/// A is the group's.
///
/// A function, not an estimator that can be trained with: without a plan that forks, members share next to nothing and
/// the first step alone is changed. Soft tokens: two mixtures are never equal; prefixes must be shared by explicit
/// forks, whose ids then stand for tokens.
public func tempoAdvantages(
  rewards: [Double], tokenIDs: [[Int32]], normalises: Bool = true, epsilon: Double = 1e-6
) throws -> [[Double]] {
  guard rewards.count == tokenIDs.count, !rewards.isEmpty else {
    throw CreditError("tempo: \(rewards.count) rewards but \(tokenIDs.count) trajectories")
  }
  let statistics = Statistics(rewards)
  let divisor = normalises ? statistics.deviation + epsilon : 1
  return tokenIDs.indices.map { index in
    var sharing = Array(tokenIDs.indices)
    var before = statistics.mean
    return tokenIDs[index].indices.map { step in
      sharing = sharing.filter { step < tokenIDs[$0].count && tokenIDs[$0][step] == tokenIDs[index][step] }
      let now = Statistics(sharing.map { rewards[$0] }).mean
      defer { before = now }
      return (rewards[index] - statistics.mean + now - before) / divisor
    }
  }
}
