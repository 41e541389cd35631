import Parameters

/// GMPO (arXiv 2507.20673): the geometric mean of the token ratios, each clipped in its logarithm,
///
///     loss = -mean_t A_t exp(mean_t sgn(A_t) min(sgn(A_t) x_t, sgn(A_t) clamp(x_t, -low, high))),  x_t = log rho_t
///
/// one a trajectory: it weighs as much as its steps together, so that `sequence_mean_token_mean` gives the paper's mean
/// over trajectories. The metrics count clamped slots: `pg_clipfrac` those of positive, `pg_clipfrac_lower` those of
/// negative advantage.
///
/// Soft tokens: only log-ratios enter; soft and discrete slots share one mean.
public struct GMPO: TrajectoryObjective {
  public static let name = "gmpo"
  public static let summary = "Geometric mean of token ratios that are clipped in their logarithm (2507.20673)"
  public static let parameters: [Parameter] = [
    .number("clip_low", 0.4, .above(0), "The log-ratio is clipped below minus this."),
    .number("clip_high", 0.4, .above(0), "The log-ratio is clipped above this."),
  ]

  public var clipLow: Double
  public var clipHigh: Double

  public init(_ values: ParameterValues) {
    clipLow = values.number("clip_low")
    clipHigh = values.number("clip_high")
  }

  public func evaluate(_ trajectory: ObjectiveTrajectory, into result: inout ObjectiveResult) {
    let (logRatios, count) = (trajectory.logRatios, Double(trajectory.slotCount))
    var (sum, advantageSum) = (0.0, 0.0)
    var (clippedPositive, clippedNegative) = (0.0, 0.0)
    var passes = [Bool](repeating: false, count: logRatios.count)
    for (slot, step) in trajectory.steps.enumerated() {
      let advantage = Double(trajectory.advantage(step: step))
      advantageSum += advantage
      let logRatio = logRatios[slot]
      let clamped = logRatio < -clipLow ? -clipLow : logRatio > clipHigh ? clipHigh : logRatio
      // The smaller of the two after the sign: a clamp that would make the objective larger is not taken.
      let isTaken = advantage > 0 ? clamped < logRatio : clamped > logRatio
      if advantage == 0 { continue }
      passes[slot] = !isTaken
      sum += isTaken ? clamped : logRatio
      if clamped != logRatio {
        if advantage > 0 { clippedPositive += 1 } else { clippedNegative += 1 }
      }
    }
    let loss = count == 0 ? 0 : -advantageSum / count * doubleExponential(sum / count)
    let scale = trajectory.totalScale
    result.loss += scale * loss
    result.coefficients.append(passes.map { $0 ? Float(scale * loss / count) : 0 })
    result.sums.add(mean: "actor/pg_clipfrac", sum: clippedPositive, count: passes.count)
    result.sums.add(mean: "actor/pg_clipfrac_lower", sum: clippedNegative, count: passes.count)
  }
}
