import Parameters

/// DHPO (arXiv 2601.05607): token ratio and sequence ratio, each clipped in its own range, then mixed:
///
///     rho_t = w_t clip(r_t, 1 -+ clip_tok) + (1 - w_t) clip(s, 1 -+ clip_seq),  s = exp(mean_t log r_t),  loss_t = -A_t rho_t
///
/// w is 1/2, or with `dhpo_mix: entropy` the step's categorical entropy scaled to [0, 1] over the trajectory (1/2 where
/// all are equal), a constant of the gradient. With `dhpo_pessimistic` the loss is max(-A (w r + (1 - w) s), -A rho).
/// No code of the authors is public: whether they take that maximum, and which branch a high entropy favours, is not
/// known.
///
/// Soft tokens: ratios only; the entropy is that of the step's categorical distribution, as the density's own is a
/// constant.
public struct DHPO: TrajectoryObjective {
  public static let name = "dhpo"
  public static let summary = "Token and sequence ratio, clipped apart, then mixed (2601.05607)"
  public static let parameters: [Parameter] = [
    .number("clip_tok", 0.2, .above(0, below: 1), "The token ratio is clipped to 1 -+ this."),
    .number("clip_seq", 0.0004, .above(0, below: 1), "The sequence ratio is clipped to 1 -+ this."),
    .choice("dhpo_mix", "mean", of: ["mean", "entropy"], "Weight of the token ratio: one half, or by entropy."),
    .flag("dhpo_pessimistic", false, "Takes the larger of the clipped and the unclipped loss."),
  ]
  public var needs: [SideStream] { mixesByEntropy ? [.entropy] : [] }

  public var clipToken: Double
  public var clipSequence: Double
  public var mixesByEntropy: Bool
  public var isPessimistic: Bool

  public init(_ values: ParameterValues) {
    clipToken = values.number("clip_tok")
    clipSequence = values.number("clip_seq")
    mixesByEntropy = values.text("dhpo_mix") == "entropy"
    isPessimistic = values.flag("dhpo_pessimistic")
  }

  public func evaluate(_ trajectory: ObjectiveTrajectory, into result: inout ObjectiveResult) throws {
    let logRatios = trajectory.logRatios
    let weights = try tokenWeights(trajectory)
    let sequence = MeanRatio(logRatios)
    let clippedSequence = clip(sequence.value, clipSequence)
    var coefficients = [Double](repeating: 0, count: logRatios.count)
    // What flows into s from every slot's loss, shared out at the end.
    var sequenceSlope = 0.0
    for (slot, step) in trajectory.steps.enumerated() {
      let token = MeanRatio(CollectionOfOne(logRatios[slot]))
      let advantage = Double(trajectory.advantage(step: step))
      let weight = weights[step]
      let clippedToken = clip(token.value, clipToken)
      var loss = -advantage * (weight * clippedToken.value + (1 - weight) * clippedSequence.value)
      var (passesToken, passesSequence) = (clippedToken.passes, clippedSequence.passes)
      let unclipped = -advantage * (weight * token.value + (1 - weight) * sequence.value)
      if isPessimistic && unclipped >= loss {
        (loss, passesToken, passesSequence) = (unclipped, true, true)
      }
      let scale = trajectory.scale(slot: slot)
      result.loss += scale * loss
      if passesToken { coefficients[slot] -= scale * advantage * weight * token.slope }
      if passesSequence { sequenceSlope -= scale * advantage * (1 - weight) * sequence.slope }
    }
    result.coefficients.append(coefficients.map { Float($0 + sequenceSlope) })
  }

  private func clip(_ ratio: Double, _ range: Double) -> (value: Double, passes: Bool) {
    if ratio < 1 - range { return (1 - range, false) }
    return ratio > 1 + range ? (1 + range, false) : (ratio, true)
  }

  /// w of every step.
  private func tokenWeights(_ trajectory: ObjectiveTrajectory) throws -> [Double] {
    guard mixesByEntropy else { return [Double](repeating: 0.5, count: trajectory.stepCount) }
    guard let entropy = trajectory.streams[.entropy] else {
      throw ObjectiveError("dhpo_mix entropy needs the entropy of every step, and the trajectories have none recorded")
    }
    guard let lowest = entropy.min(), let highest = entropy.max(), highest > lowest else {
      return [Double](repeating: 0.5, count: trajectory.stepCount)
    }
    return entropy.map { (Double($0) - Double(lowest)) / (Double(highest) - Double(lowest)) }
  }
}
