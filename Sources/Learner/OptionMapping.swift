import Credit
import Equality
import Gradients
import Kernels
import Logging
import Machine
import Objectives
import Optimization
import RunConfiguration
import Training
import Transformer

extension RunConfiguration {
  /// How trajectories become a loss, as the `learner` section describes it.
  /// - Throws: naming the key.
  func method() throws -> BatchUpdate.Method {
    let correction = try corrections.make(learner.describedCorrection())
    let isDecoupled = learner.decoupledClipping || correction.isDecoupled
    let isInLoss = learner.klPlacement == .loss
    return BatchUpdate.Method(
      loss: try Loss(
        learner.describedObjective(), klCoefficient: isInLoss ? learner.klCoefficient : 0,
        klEstimator: learner.klEstimator),
      advantage: try advantageEstimators.make(learner.describedAdvantage()), aggregation: learner.lossAggregation,
      maximumLength: rollout.maxThinkingTokens + rollout.maxAnswerTokens,
      offPolicy: isDecoupled ? .decoupled(weightCap: Float(learner.behaviourWeightCap)) : .behaviour,
      correction: correction.slotCap(learner.correctionCaps) == nil ? correction : nil,
      correctionCaps: learner.correctionCaps, selection: try selections.make(learner.describedSelection()),
      totalSteps: run.totalSteps, excludesOverlong: learner.excludeOverlong,
      rewardPenalty: isInLoss || learner.klCoefficient == 0
        ? nil : BatchUpdate.RewardPenalty(coefficient: learner.klCoefficient, estimator: learner.klEstimator),
      seed: UInt64(run.seed))
  }

  /// Cap of the importance weights that the passes form; nil: they form none.
  func importanceCap() throws -> Float? {
    try corrections.make(learner.describedCorrection()).slotCap(learner.correctionCaps)?.importance.map(Float.init)
  }

  /// Bytes for the activations of a micro-batch.
  var activationMemoryBudget: Int {
    learner.activationMemoryBudget > 0 ? learner.activationMemoryBudget << 20 : automaticActivationMemoryBudget
  }

  /// Who helps with gradients; nil: the learner is alone. With a KL term the help lacks the name of its model still.
  func gradientHelp(_ fleet: any GradientFleet, audit: LogProbAudit, logger: Logger) -> StepGradient.Help? {
    switch learner.gradientLeases {
    case .off: return nil
    case .any:
      logger.notice(
        "learner.gradient_leases: any: workers of other arithmetic compute gradients too; the update's bits depend on who was there"
      )
      return StepGradient.Help(fleet: fleet, fingerprint: nil, logger: logger)
    case .auto:
      guard audit.equalityHolds else {
        logger.notice(
          "no gradient is leased: equal bits are not promised here; learner.gradient_leases: any does without")
        return nil
      }
      return StepGradient.Help(fleet: fleet, fingerprint: audit.fingerprint, logger: logger)
    }
  }

  /// The optimiser of the reinforcement phase. Its schedule counts optimiser steps.
  func updateOptions() throws -> UpdateOptions {
    let updatesPerStep = max(1, trajectoriesPerStep / miniBatchSize)
    let options = UpdateOptions(
      optimizer: AdamW(
        learningRate: learner.learningRate, beta1: learner.adamBeta1, beta2: learner.adamBeta2,
        epsilon: learner.adamEpsilon, weightDecay: learner.weightDecay),
      schedule: LearningRateSchedule(
        shape: LearningRateSchedule.Shape(rawValue: learner.lrSchedule.rawValue)!, warmupSteps: learner.warmupSteps,
        totalSteps: run.totalSteps * updatesPerStep, minimumRatio: learner.minLRRatio),
      maxGradientNorm: learner.maxGradNorm)
    try options.validate()
    return options
  }

  /// The optimiser of the supervised phase.
  func supervisedOptions() throws -> UpdateOptions {
    let options = UpdateOptions(
      optimizer: AdamW(
        learningRate: sft.learningRate, beta1: sft.adamBeta1, beta2: sft.adamBeta2, epsilon: 1e-8,
        weightDecay: sft.weightDecay),
      schedule: LearningRateSchedule(
        shape: .cosine, warmupSteps: sft.warmupSteps, totalSteps: sft.steps, minimumRatio: sft.minLRRatio),
      maxGradientNorm: sft.maxGradNorm)
    try options.validate(section: "sft")
    return options
  }

  /// The adapters that the `lora` section describes; nil: every weight is trained.
  var adapterOptions: AdapterOptions? {
    lora.rank == 0
      ? nil
      : AdapterOptions(
        rank: lora.rank, alpha: lora.alpha, targets: lora.targets.map { AdapterTarget(rawValue: $0.rawValue)! })
  }

  /// Threads of the learner: as configured, or what affinity and the cgroup allow.
  package var learnerThreads: Int {
    learner.threads > 0 ? learner.threads : ProcessorFeatures.current.availableProcessors
  }
}

extension RunConfiguration {
  /// The data type of the workers on this machine: `worker.dtype`, the learner's where that is auto.
  package var rolloutDataType: RolloutDataType {
    switch worker.dtype {
    case .auto: model.dtype == .float32 ? .float32 : .bfloat16
    case .bfloat16: .bfloat16
    case .float32: .float32
    case .int8: .int8
    }
  }
}
