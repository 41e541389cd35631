/// Drops stale trajectories of negative advantage (DeepSeek-V3.2, arXiv 2512.02556): a trajectory with A < 0 whose mean
/// over slots of log pi_worker - log pi_theta exceeds the threshold has no loss, but stays in the denominator: pushing
/// away further from what the policy has already left teaches nothing and destabilises.
///
/// Soft tokens: the mean is over densities and log-probs alike.
public struct OffPolicySequenceMask: Sendable {
  public var threshold: Double

  public init(threshold: Double) { self.threshold = threshold }

  /// - Parameter advantage: of the trajectory; of advantages per step their mean.
  public func isKept(logProbs: [Float], workerLogProbs: [Float], advantage: Double) throws -> Bool {
    let drift = try importanceLogRatios(workerLogProbs, over: logProbs, level: .geometricMean, bound: nil).first ?? 0
    return !(advantage < 0 && drift > threshold)
  }
}
