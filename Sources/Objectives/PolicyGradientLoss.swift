import Parameters

/// Plain policy gradient, as GPG (arXiv 2504.02546) and REINFORCE take it: loss = -A log pi_theta. There is no ratio,
/// and the old log-probs are not used: several mini-batches a step, or samples of an older policy, are not corrected
/// for.
///
/// Soft tokens: the score function of the log-density; nothing changes.
public struct PolicyGradientLoss: StepObjective {
  public static let name = "gpg"
  public static let summary = "Plain policy gradient, -A log pi: no ratio and no clip (2504.02546)"
  public static let parameters: [Parameter] = []

  public init(_ values: ParameterValues) {}

  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    ObjectiveTerm(loss: -step.advantage * step.logProb, gradient: -step.advantage)
  }
}
