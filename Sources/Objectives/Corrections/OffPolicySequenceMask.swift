import Parameters

/// Drops stale trajectories of negative advantage (DeepSeek-V3.2, arXiv 2512.02556): a trajectory with A < 0 whose mean
/// over slots of log pi_worker - log pi_theta exceeds the threshold has no loss, but stays in the denominator: pushing
/// away further from what the policy has already left teaches nothing and destabilises.
///
/// Soft tokens: the mean is over densities and log-probs alike.
///
/// In a run pi_theta is the learner's policy at the start of the training step, also for its later mini-batches.
public struct OffPolicySequenceMask: Correction {
  public static let name = "off_policy_sequence_mask"
  public static let summary = "no loss of trajectories with A < 0 that the policy has left (DeepSeek-V3.2, 2512.02556)"
  public static let parameters: [Parameter] = [
    .number(
      "off_policy_threshold", 0.5, .atLeast(0), "Mean of log pi_worker - log pi beyond which A < 0 is masked.",
      unit: "nats")
  ]

  public var threshold: Double

  public init(threshold: Double) { self.threshold = threshold }
  public init(_ values: ParameterValues) { self.init(threshold: values.number("off_policy_threshold")) }

  public func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) throws -> [CorrectionFactors] {
    try trajectories.map { item in
      let isKept = try isKept(
        logProbs: item.logProbs, workerLogProbs: item.workerLogProbs, advantage: item.advantage)
      return isKept ? CorrectionFactors() : CorrectionFactors(weights: item.logProbs.map { _ in 0 })
    }
  }

  /// - Parameter advantage: of the trajectory; of advantages per step their mean.
  public func isKept(logProbs: [Float], workerLogProbs: [Float], advantage: Double) throws -> Bool {
    let drift = try importanceLogRatios(workerLogProbs, over: logProbs, level: .geometricMean, bound: nil).first ?? 0
    return !(advantage < 0 && drift > threshold)
  }
}
