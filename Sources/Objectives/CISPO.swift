import Parameters

/// CISPO (MiniMax-M1, arXiv 2506.13585): the clipped ratio is a constant weight of REINFORCE, so that no step loses its
/// gradient:
///
///     loss = -sg[clip(rho, 1 - low, 1 + high)] A log pi_theta
///
/// With `cispo_cap` the weight is min(rho, cap) instead, without a lower bound, as in TRL and, with its large lower
/// range, the paper. With `cispo_cap` 2 and log-probs of the sampling worker as the old ones it is REINFORCE with a
/// truncated importance weight.
///
/// Soft tokens: only the ratio and the gradient of the log-density enter, so nothing changes. The *value* of the loss
/// contains the log-density itself and means nothing across policies; its gradient does.
public struct CISPO: StepObjective {
  public static let name = "cispo"
  public static let summary = "The clipped ratio as a constant weight of REINFORCE (2506.13585)"
  public static let parameters: [Parameter] = [
    .number("clip_low", 0.2, .above(0), "The ratio is clipped below 1 - this; 1 and more: not at all."),
    .number("clip_high", 0.2, .above(0), "The ratio is clipped above 1 + this."),
    .optionalNumber(
      "cispo_cap", nil, .above(0), "The ratio is clipped above this, and not below; null: by the two others."),
  ]
  public static let measures = ["pg_clipfrac"]

  /// What the ratio is clamped to.
  public var range: ClosedRange<Float>

  public init(_ values: ParameterValues) {
    if let cap = values.optionalNumber("cispo_cap") {
      range = -Float.infinity...Float(cap)
    } else {
      range = Float(1 - values.number("clip_low"))...Float(1 + values.number("clip_high"))
    }
  }

  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    let ratio = exponential(boundedLogRatio(step.logProb, step.oldLogProb))
    // NaN passes through: it must reach the gradient norm, which refuses it.
    let weight = ratio.isNaN ? ratio : min(max(ratio, range.lowerBound), range.upperBound)
    return ObjectiveTerm(
      loss: -weight * step.advantage * step.logProb, gradient: -weight * step.advantage,
      measured: SIMD4(weight == ratio ? 0 : 1, 0, 0, 0))
  }
}
