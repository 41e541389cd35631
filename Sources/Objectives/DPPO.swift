import Parameters

/// DPPO with the binary total-variation mask, as prime-rl's default loss has it (arXiv 2602.04879):
///
///     loss = -[kept] adv_tau A rho + kl_tau (log rho)^2
///
/// A step is not kept where the update has moved its *probability* too far: A > 0 and pi - pi_old > mask_high, or A <=
/// 0 and pi - pi_old < -mask_low. The second term stays on every step, those without an advantage included.
///
/// Soft tokens: a density is no probability (it may exceed 1), so that the mask is meant for discrete steps; on soft
/// ones it compares densities.
public struct DPPO: StepObjective {
  public static let name = "dppo_kl"
  public static let summary =
    "Unclipped ratio, masked by the change of the probability, with a squared log-ratio (2602.04879)"
  public static let parameters: [Parameter] = [
    .number(
      "dppo_mask_low", 0.2, .between(0, 1), "A step of no positive advantage whose probability fell by more is masked."),
    .number(
      "dppo_mask_high", 0.2, .between(0, 1), "A step of positive advantage whose probability rose by more is masked."),
    .number("adv_tau", 1, .atLeast(0), "Factor of the policy term."),
    .number("kl_tau", 0.001, .atLeast(0), "Factor of the squared log-ratio."),
  ]
  public static let measures = ["masked_fraction"]

  public var maskLow: Float
  public var maskHigh: Float
  public var policyFactor: Float
  public var squareFactor: Float

  public init(_ values: ParameterValues) {
    maskLow = Float(values.number("dppo_mask_low"))
    maskHigh = Float(values.number("dppo_mask_high"))
    policyFactor = Float(values.number("adv_tau"))
    squareFactor = Float(values.number("kl_tau"))
  }

  public var ignoresZeroAdvantages: Bool { squareFactor == 0 }

  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    let logRatio = boundedLogRatio(step.logProb, step.oldLogProb)
    let ratio = exponential(logRatio)
    let change = exponential(step.logProb) - exponential(step.oldLogProb)
    let isMasked = step.advantage > 0 ? change > maskHigh : change < -maskLow
    let surrogate = isMasked ? 0 : -policyFactor * step.advantage * ratio
    let isBounded = isLogRatioBounded(step.logProb, step.oldLogProb)
    return ObjectiveTerm(
      loss: surrogate + squareFactor * logRatio * logRatio,
      gradient: isBounded ? 0 : surrogate + 2 * squareFactor * logRatio,
      measured: SIMD4(isMasked ? 1 : 0, 0, 0, 0))
  }
}
