/// Truncated importance sampling: min(exp(log pi_learner,old - log pi_worker), cap).
///
/// Corrects a token for the difference between the arithmetic that sampled it and the learner's, at equal weights (different
/// processors, int8 rollouts). A constant of the gradient. The log-ratio is clamped to [-20, 20] before the exponential.
/// - Parameters:
///   - learnerOldLogProb: the learner's log-prob under the weights of the rollout.
///   - workerLogProb: the log-prob recorded at sampling.
///   - cap: C, positive; verl and TRL use 2.
public func truncatedImportanceWeight(learnerOldLogProb: Float, workerLogProb: Float, cap: Float) -> Float {
  let logRatio = boundedLogRatio(learnerOldLogProb, workerLogProb)
  return logRatio.isNaN ? logRatio : min(exponential(logRatio), cap)
}
