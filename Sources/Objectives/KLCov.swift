import Parameters

/// The unclipped surrogate, with a penalty on the few slots of the batch whose log-prob and advantage vary together most (KL-Cov, arXiv
/// 2505.22617; verl's `compute_policy_loss_kl_cov`): those that would collapse the entropy.
///
///     loss = -A r,   and  + kl_cov_coef |log r|  on the max(1, floor(n * kl_cov_ratio)) slots of the largest
///     covariance (A - mean A) (log pi - mean log pi), means over the slots of the optimiser step
///
/// A trajectory without an advantage still counts in the means and may be penalised, so none is skipped. On soft steps log pi is a
/// density: its spread differs from a token's log-probability, and the covariance mixes both kinds in one ranking.
public struct KLCov: Objective {
  public static let name = "kl_cov"
  public static let summary = "the unclipped ratio, with |log r| on the slots of highest covariance (2505.22617)"
  public static let parameters: [Parameter] = [
    .number(
      "kl_cov_ratio", 0.0002, .between(0, 1), "Share of the batch's slots that are penalised, at least one of them."),
    .number("ppo_kl_coef", 1, .atLeast(0), "Weight of |log r| on those slots."),
  ]
  public static let scope = ObjectiveScope.batch
  public var ignoresZeroAdvantages: Bool { false }

  public var share: Double
  public var coefficient: Double

  public init(_ values: ParameterValues) {
    share = values.number("kl_cov_ratio")
    coefficient = values.number("ppo_kl_coef")
  }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var (places, logProbs, advantages): ([(trajectory: Int, slot: Int)], [Double], [Double]) = ([], [], [])
    for (index, trajectory) in trajectories.enumerated() {
      try trajectory.validate()
      for (slot, step) in trajectory.steps.enumerated() {
        places.append((index, slot))
        logProbs.append(Double(trajectory.logProbs[slot]))
        advantages.append(Double(trajectory.advantage(step: step)))
      }
    }
    var result = ObjectiveResult()
    result.coefficients = trajectories.map { [Float](repeating: 0, count: $0.slotCount) }
    guard !places.isEmpty else { return result }
    let count = Double(places.count)
    let (meanLogProb, meanAdvantage) = (logProbs.reduce(0, +) / count, advantages.reduce(0, +) / count)
    let covariances = places.indices.map { (advantages[$0] - meanAdvantage) * (logProbs[$0] - meanLogProb) }
    let penalised = max(1, Int(count * share))
    // Ties go to the slot that comes first, so that the choice is the same everywhere.
    let order = places.indices.sorted { (covariances[$1], $0) < (covariances[$0], $1) }
    let chosen = Set(order.prefix(penalised))
    var magnitudes = 0.0
    for (index, place) in places.enumerated() {
      let trajectory = trajectories[place.trajectory]
      let logRatio = Double(boundedLogRatio(trajectory.logProbs[place.slot], trajectory.oldLogProbs[place.slot]))
      let ratio = doubleExponential(logRatio)
      let scale = trajectory.scale(slot: place.slot)
      var (loss, slope) = (-advantages[index] * ratio, -advantages[index] * ratio)
      if chosen.contains(index) {
        loss += coefficient * abs(logRatio)
        slope += coefficient * (logRatio > 0 ? 1 : logRatio < 0 ? -1 : 0)
      }
      magnitudes += abs(logRatio)
      result.loss += scale * loss
      result.coefficients[place.trajectory][place.slot] = Float(scale * slope)
    }
    result.sums.add(mean: "actor/kl_cov_abs_log_ratio", sum: magnitudes, count: places.count)
    result.sums.add(mean: "actor/kl_cov_share", sum: Double(chosen.count), count: places.count)
    return result
  }
}
