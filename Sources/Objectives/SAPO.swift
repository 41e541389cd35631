import Parameters

/// A soft gate in place of the clip, per slot (SAPO, arXiv 2511.20347; verl's `compute_policy_loss_sapo`):
///
///     loss = -A (4 / tau) sigmoid(tau (rho - 1)),   tau = tau_pos where A > 0, else tau_neg
///
/// with rho = exp(log pi_theta - log pi_old). Near rho = 1 it is the unclipped surrogate; far from it the gradient fades instead of
/// stopping, and sooner where the advantage is negative. It needs the ratio alone, so soft steps are no other to it; the heavy lower
/// tail of a Gumbel density's log-ratio is what the gate tames.
public struct SAPO: StepObjective {
  public static let name = "sapo"
  public static let summary = "a sigmoid gate on the ratio in place of the clip (2511.20347)"
  public static let parameters: [Parameter] = [
    .number("tau_pos", 1, .above(0, upTo: 1000), "Steepness of the gate where the advantage is positive."),
    .number("tau_neg", 1.05, .above(0, upTo: 1000), "Steepness of the gate where the advantage is not positive."),
  ]

  public var tauPositive: Double
  public var tauNegative: Double

  public init(_ values: ParameterValues) {
    tauPositive = values.number("tau_pos")
    tauNegative = values.number("tau_neg")
  }

  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    let ratio = Double(exponential(boundedLogRatio(step.logProb, step.oldLogProb)))
    let advantage = Double(step.advantage)
    let tau = advantage > 0 ? tauPositive : tauNegative
    let gate = 1 / (1 + doubleExponential(-tau * (ratio - 1)))
    // d/d(rho) of (4 / tau) sigmoid(tau (rho - 1)) is 4 s (1 - s); d(rho)/d(log pi) = rho.
    let slope = isLogRatioBounded(step.logProb, step.oldLogProb) ? 0 : 4 * gate * (1 - gate) * ratio
    return ObjectiveTerm(loss: Float(-advantage * 4 / tau * gate), gradient: Float(-advantage * slope))
  }
}
