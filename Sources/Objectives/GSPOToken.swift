import Parameters

/// GSPO's token form (arXiv 2507.18071, section 4.3): every slot has the *value* of the sequence's length-normalised
/// ratio and the gradient of its own log-prob,
///
///     s_t = sg[s] pi_t / sg[pi_t],  s = exp(mean_t log rho_t),   loss_t = max(-A_t s_t, -A_t clip(s_t, 1 - low, 1 + high))
///
/// With one advantage a trajectory it is GSPO; they differ when advantages vary within a trajectory. log s is held
/// below 10, as in verl. The authors average with `sequence_mean_token_mean`.
///
/// Soft tokens: ratios of densities and of probabilities are both dimensionless, and their mean is taken over both
/// alike. A step of several slots enters with each of them.
public struct GSPOToken: TrajectoryObjective {
  public static let name = "gspo_token"
  public static let summary = "The sequence's ratio with the gradient of the token (2507.18071)"
  public static let parameters = clipParameters(low: 0.0003, high: 0.0004, dual: .some(nil))
  /// Bound of the mean log-ratio from above.
  public static let maximumMeanLogRatio = 10.0

  public var clipLow: Double
  public var clipHigh: Double
  public var dualClip: Double?

  public init(_ values: ParameterValues) {
    clipLow = values.number("clip_low")
    clipHigh = values.number("clip_high")
    dualClip = values.optionalNumber("dual_clip")
  }

  public func evaluate(_ trajectory: ObjectiveTrajectory, into result: inout ObjectiveResult) {
    let ratio = MeanRatio(trajectory.logRatios, upper: Self.maximumMeanLogRatio)
    var (coefficients, clipped) = ([Float](), 0.0)
    for (slot, step) in trajectory.steps.enumerated() {
      let surrogate = clippedSurrogate(
        ratio: Float(ratio.value), advantage: trajectory.advantage(step: step), low: Float(1 - clipLow),
        high: Float(1 + clipHigh), dualClip: dualClip.map(Float.init))
      let scale = trajectory.scale(slot: slot)
      coefficients.append(Float(ratio.isBounded ? 0 : scale * Double(surrogate.slope) * ratio.value))
      result.loss += scale * Double(surrogate.loss)
      clipped += surrogate.isClipped ? 1 : 0
    }
    result.coefficients.append(coefficients)
    result.sums.add(mean: "actor/pg_clipfrac", sum: clipped, count: coefficients.count)
  }
}
