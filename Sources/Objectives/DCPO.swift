import Parameters

/// DCPO's dynamic adaptive clipping (arXiv 2509.02333): the clipped surrogate with dual clip, but bounds that widen as
/// the old probability q of the token falls:
///
///     1/2 + 1/2 sqrt(max(1 - 4 low / q, 0)) <= rho <= min(1/2 + 1/2 sqrt(1 + 4 high / q), max(dual_clip, 10))
///
/// The paper's loss is the sum over trajectories of their token means: `loss_aggregation: sequence_sum_token_mean`.
///
/// Soft tokens: a density is no probability, so that q is the recorded categorical probability of the step. Where none
/// is recorded, q is the old density itself, which is right for discrete tokens alone.
public struct DCPO: StepObjective {
  public static let name = "dcpo"
  public static let summary = "Clipped ratio, its range the wider the less probable the token was (2509.02333)"
  public static let parameters: [Parameter] = [
    .number("clip_low", 0.2, .above(0, below: 1), "e_l of the lower bound."),
    .number("clip_high", 0.28, .above(0), "e_h of the upper bound."),
    .optionalNumber(
      "dual_clip", 10, .above(1), "Bound c of the loss where the advantage is negative; null: none."),
  ]
  public static let measures = ["pg_clipfrac", "pg_clipfrac_lower"]
  public var needs: [SideStream] { [.probability] }
  /// The upper bound's own bound.
  public static let ratioMaximum = 10.0

  public var clipLow: Double
  public var clipHigh: Double
  public var dualClip: Double?

  public init(_ values: ParameterValues) {
    clipLow = values.number("clip_low")
    clipHigh = values.number("clip_high")
    dualClip = values.optionalNumber("dual_clip")
  }

  /// The range of the ratio of a token that had this probability.
  public func bounds(probability: Double) -> (lower: Double, upper: Double) {
    let lower = 0.5 + 0.5 * max(1 - 4 * clipLow / probability, 0).squareRoot()
    let upper = 0.5 + 0.5 * (1 + 4 * clipHigh / probability).squareRoot()
    return (lower, min(upper, max(dualClip ?? 0, Self.ratioMaximum)))
  }

  /// q of a step: the recorded probability, or without one the old log-prob's exponential.
  public static func probability(of step: ObjectiveStep) -> Double {
    step.probability.isNaN ? doubleExponential(Double(step.oldLogProb)) : Double(step.probability)
  }

  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    let bounds = bounds(probability: Self.probability(of: step))
    let ratio = exponential(boundedLogRatio(step.logProb, step.oldLogProb))
    let surrogate = clippedSurrogate(
      ratio: ratio, advantage: step.advantage, low: Float(bounds.lower), high: Float(bounds.upper),
      dualClip: dualClip.map(Float.init))
    return ObjectiveTerm(
      loss: surrogate.loss,
      gradient: isLogRatioBounded(step.logProb, step.oldLogProb) ? 0 : surrogate.slope * ratio,
      measured: SIMD4(surrogate.isClipped ? 1 : 0, surrogate.isDualClipped ? 1 : 0, 0, 0))
  }
}
