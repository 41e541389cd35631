/// Names of the metrics, as verl, TRL and the paper's logs have them (docs/configuration.md). `docs/metrics.md` says what each means.
public enum MetricName {
  public static let rewardMean = "reward/mean"
  public static let rewardStandardDeviation = "reward/std"
  public static let rewardMaximum = "reward/max"
  public static let rewardMinimum = "reward/min"
  /// Mean of one reward of the sum, before its weight.
  public static func rewardMean(of name: String) -> String { "reward/\(name)/mean" }
  public static let notJudged = "reward/not_judged"
  public static let updateSkipped = "training/update_skipped"
  /// Share of the samples in which no answer could be found.
  public static let unreadableAnswers = "reward/no_answer"
  /// Groups that were trained on.
  public static let groups = "rollout/groups"
  public static let groupsWithoutSignal = "reward/zero_std_groups"
  public static let completionLengthMean = "completion_length/mean"
  public static let completionLengthMaximum = "completion_length/max"
  public static let completionLengthClipRatio = "completion_length/clip_ratio"
  public static let thinkingLengthMean = "thinking_length/mean"
  public static let thinkingLengthCorrect = "thinking_length/correct"
  public static let thinkingLengthWrong = "thinking_length/wrong"
  public static let softnessLargestWeight = "softness/largest_weight"
  public static let softnessComponents = "softness/effective_components"
  public static let softnessMixed = "softness/mixed"
  public static let softnessEntropy = "softness/entropy"
  public static let forks = "softness/forks"
  public static let forkLargestWeight = "softness/fork_largest_weight"
  public static let forkComponents = "softness/fork_effective_components"
  public static let forkMixed = "softness/fork_mixed"
  /// Share of the samples whose thinking ended by itself.
  public static let thinkingEndRatio = "thinking_length/end_ratio"
  public static let policyLoss = "actor/pg_loss"
  public static let policyClipFraction = "actor/pg_clipfrac"
  public static let policyClipFractionLower = "actor/pg_clipfrac_lower"
  public static let policyKL = "actor/ppo_kl"
  public static let ratioMean = "actor/ratio_mean"
  public static let ratioMaximum = "actor/ratio_max"
  public static let referenceKLLoss = "actor/kl_loss"
  public static let entropy = "actor/entropy"
  public static let gradientNorm = "actor/grad_norm"
  public static let learningRate = "actor/lr"
  public static let rolloutProbabilityDifferenceMaximum = "training/rollout_probs_diff_max"
  public static let rolloutProbabilityDifferenceMean = "training/rollout_probs_diff_mean"
  public static let audited = "training/audited"
  public static let auditFailures = "training/audit_failures"
  public static let verified = "training/verified"
  public static let verifiedForeign = "training/verified_foreign"
  public static let notVerifiable = "training/not_verifiable"
  public static let verifiedLeaves = "training/verified_leaves"
  public static let caught = "training/caught"
  public static let recomputed = "training/recomputed"
  public static let importanceWeightMean = "training/importance_weight_mean"
  public static let importanceWeightClipped = "training/importance_weight_clipped"
  public static let correctionMean = "training/correction_mean"
  public static let correctionDropped = "training/correction_dropped"
  public static let rewardPenalty = "reward/kl_penalty"
  public static let epoch = "training/epoch"
  public static let offPolicyMean = "off_policy/mean"
  public static let offPolicyMaximum = "off_policy/max"
  public static let offPolicyDropped = "off_policy/dropped"
  public static let offPolicyPartial = "off_policy/partial"
  public static let behaviourWeightMean = "off_policy/behaviour_weight_mean"
  public static let behaviourWeightClipped = "off_policy/behaviour_weight_clipped"
  public static let hedged = "rollout/hedged"
  public static let hedgesWon = "rollout/hedges_won"
  public static let rolloutAccepted = "rollout/accepted"
  public static let rolloutTrained = "rollout/trained"
  public static let rolloutDuplicates = "rollout/duplicates"
  public static let rolloutRequeued = "rollout/requeued"
  public static let rolloutSetAside = "rollout/set_aside"
  public static let droppedGroups = "rollout/dropped_groups"
  public static let lostSessions = "rollout/lost_sessions"
  public static let tokensPerSecond = "perf/tokens_per_second"
  public static let weightsWireBytes = "perf/weights_wire_bytes"
  public static let weightsDensity = "perf/weights_density"
  public static let gradientLeases = "perf/gradient_leases"
  public static let gradientLeasedShare = "perf/gradient_leased_share"
  public static let gradientWireBytes = "perf/gradient_wire_bytes"
  public static let workers = "perf/workers"
  public static let timeGenerate = "time/generate"
  public static let timeWait = "time/wait"
  public static let timeVerification = "time/verification"
  public static let timeJudge = "time/judge"
  public static let timeUpdate = "time/update"
  public static let timeGradientWait = "time/gradient_wait"
  public static let timeBroadcast = "time/broadcast"
  public static let timeCheckpoint = "time/checkpoint"
  public static let timeEvaluate = "time/evaluate"
  public static let timeStep = "time/step"
  public static let sftLoss = "sft/loss"
  public static let sftLearningRate = "sft/lr"
  public static let sftGradientNorm = "sft/grad_norm"

  /// Share of prompts solved by at least one of `k` samples under a thinking policy.
  /// - Parameter dataset: of `eval.datasets`; nil: the run's own held-out prompts.
  public static func passAt(_ k: Int, policy: String, dataset: String? = nil) -> String {
    evaluation(policy, dataset) + "pass@\(k)"
  }
  /// Share of prompts solved by the majority answer of `k` samples.
  public static func majorityAt(_ k: Int, policy: String, dataset: String? = nil) -> String {
    evaluation(policy, dataset) + "maj@\(k)"
  }
  /// Mean completion length of an evaluation.
  public static func evaluationLength(policy: String, dataset: String? = nil) -> String {
    evaluation(policy, dataset) + "completion_length/mean"
  }
  private static func evaluation(_ policy: String, _ dataset: String?) -> String {
    "eval/" + (dataset.map { $0 + "/" } ?? "") + policy + "/"
  }

  /// Every fixed name.
  public static let all = [
    rewardMean, rewardStandardDeviation, rewardMaximum, rewardMinimum, notJudged, updateSkipped,
    unreadableAnswers, groups, groupsWithoutSignal, thinkingEndRatio,
    completionLengthMean,
    completionLengthMaximum, completionLengthClipRatio, thinkingLengthMean, thinkingLengthCorrect,
    thinkingLengthWrong, softnessLargestWeight, softnessComponents, softnessMixed, softnessEntropy, forks,
    forkLargestWeight, forkComponents, forkMixed, policyLoss, policyClipFraction,
    policyClipFractionLower, policyKL, ratioMean, ratioMaximum, referenceKLLoss, entropy, gradientNorm, learningRate,
    rolloutProbabilityDifferenceMaximum, rolloutProbabilityDifferenceMean, audited, auditFailures, recomputed,
    verified, verifiedForeign, notVerifiable, verifiedLeaves, caught, timeVerification, importanceWeightMean,
    importanceWeightClipped, correctionMean, correctionDropped, rewardPenalty, epoch, offPolicyMean,
    offPolicyMaximum, offPolicyDropped,
    offPolicyPartial, behaviourWeightMean, behaviourWeightClipped, hedged, hedgesWon,
    rolloutAccepted, rolloutTrained, rolloutDuplicates, rolloutRequeued, rolloutSetAside, droppedGroups, lostSessions,
    tokensPerSecond,
    weightsWireBytes, weightsDensity, gradientLeases, gradientLeasedShare, gradientWireBytes, workers, timeGradientWait,
    timeGenerate, timeWait, timeJudge, timeUpdate, timeBroadcast, timeCheckpoint, timeEvaluate,
    timeStep,
    sftLoss, sftLearningRate, sftGradientNorm,
  ]
}
