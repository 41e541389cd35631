import Parameters

/// One length-normalised ratio for a whole trajectory (GSPO, arXiv 2507.18071):
///
///     s = exp(mean over steps of log r_t),   loss = max(-A s, -A clip(s, 1 - low, 1 + high)),
///
/// the same for each of its steps; with `dual_clip`, at most -A c where A < 0. The mean is over steps: a step of several slots counts
/// once, with the sum of its slots' log-ratios. Soft and discrete steps enter alike, as log-ratios have no dimension, and the noise of
/// single Gumbel densities averages out.
public struct GSPO: Objective {
  public static let name = "gspo"
  public static let summary = "one length-normalised ratio a trajectory, clipped (2507.18071)"
  public static let parameters = clipParameters(low: 3e-4, high: 4e-4, dual: .some(nil))
  public static let scope = ObjectiveScope.trajectory

  public var clipLow: Float
  public var clipHigh: Float
  public var dualClip: Float?

  public init(_ values: ParameterValues) {
    clipLow = Float(values.number("clip_low"))
    clipHigh = Float(values.number("clip_high"))
    dualClip = values.optionalNumber("dual_clip").map(Float.init)
  }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    var (clipped, dualClipped, scored) = (0.0, 0.0, 0)
    for trajectory in trajectories {
      try trajectory.validate()
      guard trajectory.slotCount > 0 else {
        result.coefficients.append([])
        continue
      }
      guard trajectory.advantages.count == 1 else {
        throw ObjectiveError(
          "objective gspo has one ratio a trajectory and needs one advantage for it; gspo_token takes one a step")
      }
      let steps = Double(trajectory.stepCount)
      let sum = trajectory.logRatios.reduce(0, +)
      let mean = sum / steps
      let bound = Double(maximumLogRatio)
      let ratio = exponential(Float(mean.isNaN ? mean : min(max(mean, -bound), bound)))
      let surrogate = clippedSurrogate(
        ratio: ratio, advantage: trajectory.advantages[0], low: 1 - clipLow, high: 1 + clipHigh, dualClip: dualClip)
      // Each step's loss is that of the trajectory: their weights add up. A correction multiplies its own slot's share.
      let weights = zip(trajectory.steps, 0..<trajectory.slotCount).map { step, slot in
        trajectory.scale(slot: slot) / Double(trajectory.slotCounts?[step] ?? 1)
      }
      let total = weights.reduce(0, +)
      result.loss += total * Double(surrogate.loss)
      // d(s)/d(log-prob of any slot) = s / steps.
      let slope = abs(mean) > bound ? 0 : Double(surrogate.slope) * Double(ratio) / steps
      result.coefficients.append([Float](repeating: Float(total * slope), count: trajectory.slotCount))
      // Of the steps, all of which a clipped trajectory takes with it.
      clipped += surrogate.isClipped ? steps : 0
      dualClipped += surrogate.isDualClipped ? steps : 0
      scored += trajectory.stepCount
    }
    result.sums.add(mean: "actor/pg_clipfrac", sum: clipped, count: scored)
    result.sums.add(mean: "actor/pg_clipfrac_lower", sum: dualClipped, count: scored)
    return result
  }
}
