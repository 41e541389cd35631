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
  package func method() throws -> UpdateMethod {
    let correction = try corrections.make(learner.method.describedCorrection())
    let isDecoupled = learner.method.decoupledClipping || correction.isDecoupled
    let isInLoss = learner.method.klPlacement == .loss
    return UpdateMethod(
      loss: try Loss(
        learner.method.describedObjective(), klCoefficient: isInLoss ? learner.method.klCoefficient : 0,
        klEstimator: learner.method.klEstimator),
      advantage: try advantageEstimators.make(learner.method.describedAdvantage()),
      aggregation: learner.method.lossAggregation,
      maximumLength: rollout.maxThinkingTokens + rollout.maxAnswerTokens,
      offPolicy: isDecoupled ? .decoupled(weightCap: Float(learner.method.behaviourWeightCap)) : .behaviour,
      correction: correction.slotCap(learner.method.correctionCaps) == nil ? correction : nil,
      correctionCaps: learner.method.correctionCaps,
      selection: try selections.make(learner.method.describedSelection()),
      totalSteps: run.totalSteps, excludesOverlong: learner.method.excludeOverlong,
      rewardPenalty: isInLoss || learner.method.klCoefficient == 0
        ? nil
        : UpdateMethod.RewardPenalty(coefficient: learner.method.klCoefficient, estimator: learner.method.klEstimator),
      seed: UInt64(run.seed))
  }

  /// Cap of the importance weights that the passes form; nil: they form none.
  func importanceCap() throws -> Float? {
    try corrections.make(learner.method.describedCorrection()).slotCap(learner.method.correctionCaps)?.importance.map(
      Float.init)
  }

  /// Bytes for the activations of a micro-batch.
  package var activationMemoryBudget: Int {
    learner.batches.activationMemoryBudget > 0
      ? learner.batches.activationMemoryBudget << 20 : automaticActivationMemoryBudget
  }

  /// The optimiser of the reinforcement phase. Its schedule counts optimiser steps.
  package func updateOptions() throws -> UpdateOptions {
    let updatesPerStep = max(1, trajectoriesPerStep / miniBatchSize)
    let options = UpdateOptions(
      optimizer: AdamW(
        learningRate: learner.optimizer.learningRate, beta1: learner.optimizer.adamBeta1,
        beta2: learner.optimizer.adamBeta2,
        epsilon: learner.optimizer.adamEpsilon, weightDecay: learner.optimizer.weightDecay),
      schedule: LearningRateSchedule(
        shape: LearningRateSchedule.Shape(rawValue: learner.optimizer.lrSchedule.rawValue)!,
        warmupSteps: learner.optimizer.warmupSteps,
        totalSteps: run.totalSteps * updatesPerStep, minimumRatio: learner.optimizer.minLRRatio),
      maxGradientNorm: learner.optimizer.maxGradNorm)
    try options.validate()
    return options
  }

  /// The optimiser of the supervised phase.
  package func supervisedOptions() throws -> UpdateOptions {
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
  package var adapterOptions: AdapterOptions? {
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
