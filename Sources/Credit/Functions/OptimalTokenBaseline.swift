/// The optimal token baseline (verl): the baseline of least variance at every step t of a group,
///
///     B_t = sum_i G_it W_it / (sum_i W_it + 1e-8),   W_it = sum_{s <= t} (1 - 2 pi_is + sum_v pi_is(v)^2),   A_it = G_it - B_t
///
/// over the members that reach t; W is the accumulated squared norm of the score in the logits. With one reward a
/// trajectory G_it is that reward.
///
/// A function, not an estimator that can be trained with: a run records neither sum_v pi^2 of every step nor, of soft
/// steps, a probability. Soft tokens: the squared norm of a density's score is 1 a component whatever the distribution,
/// for which W would be the number of steps.
public func optimalTokenBaselineAdvantages(
  rewards: [Double], probability: [[Double]], sumOfSquares: [[Double]], epsilon: Double = 1e-8
) throws -> [[Double]] {
  guard probability.count == rewards.count, zip(probability, sumOfSquares).allSatisfy({ $0.count == $1.count }),
    sumOfSquares.count == rewards.count
  else {
    throw CreditError("optimal_token_baseline: probabilities and their squared sums must be parallel, a list a reward")
  }
  var weights = probability
  for (index, own) in probability.enumerated() {
    var running = 0.0
    for step in own.indices {
      running += 1 - 2 * own[step] + sumOfSquares[index][step]
      weights[index][step] = running
    }
  }
  var advantages = probability
  for step in 0..<(probability.map(\.count).max() ?? 0) {
    let alive = rewards.indices.filter { step < probability[$0].count }
    let total = alive.reduce(0.0) { $0 + weights[$1][step] }
    let weighted = alive.reduce(0.0) { $0 + rewards[$1] * weights[$1][step] }
    for index in alive { advantages[index][step] = rewards[index] - weighted / (total + epsilon) }
  }
  return advantages
}
