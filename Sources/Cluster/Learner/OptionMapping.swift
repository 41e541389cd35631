import Credit
import Kernels
import Logging
import Objectives
import PolicyOptimization
import RunConfiguration
import Training
import Transformer

extension RunConfiguration {
  /// How trajectories become a loss, as the `learner` section describes it.
  /// - Throws: naming the key.
  func method() throws -> BatchUpdate.Method {
    BatchUpdate.Method(
      loss: try Loss(
        learner.describedObjective(), klCoefficient: learner.klCoefficient, klEstimator: learner.klEstimator),
      advantage: try advantageEstimators.make(learner.describedAdvantage()), aggregation: learner.lossAggregation,
      maximumLength: rollout.maxThinkingTokens + rollout.maxAnswerTokens,
      offPolicy: learner.decoupledClipping ? .decoupled(weightCap: Float(learner.behaviourWeightCap)) : .behaviour,
      seed: UInt64(run.seed))
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
  var learnerThreads: Int {
    learner.threads > 0 ? learner.threads : ProcessorFeatures.current.availableProcessors
  }
}

/// The backend for a configured dtype. bf16 weights are computed with in fp32 where the processor has no bf16 products;
/// the log says so.
/// Never int8, in which nothing can be trained.
func backend(for dtype: String, logger: Logger) throws -> any MatrixBackend {
  guard let type = ComputeType(rawValue: dtype) else {
    throw ClusterError("dtype '\(dtype)' is not one that this build knows: bfloat16, float32")
  }
  if type == .bfloat16 && preferredComputeType == .float32 {
    logger.notice(
      "\(ProcessorFeatures.current.name) has no bf16 products: the bf16 weights are computed with in float32"
    )
    return try matrixBackend(for: .float32)
  }
  return try matrixBackend(for: type)
}

/// The backend of a worker: of the data type that it was asked for, or of the learner's.
///
/// - Throws: `KernelError` for int8 without AVX512-VNNI: another policy must not take its place in silence.
func workerBackend(_ asked: RolloutDataType?, learner dtype: String, logger: Logger) throws -> any MatrixBackend {
  guard asked == .int8 else { return try backend(for: asked?.rawValue ?? dtype, logger: logger) }
  return try rolloutBackend(for: .int8)
}

extension RunConfiguration {
  /// The data type of the workers on this machine: `worker.dtype`, the learner's where that is auto.
  var rolloutDataType: RolloutDataType {
    switch worker.dtype {
    case .auto: model.dtype == .float32 ? .float32 : .bfloat16
    case .bfloat16: .bfloat16
    case .float32: .float32
    case .int8: .int8
    }
  }
}

/// What decides the bits of a forward pass: equal fingerprints promise equal bits.
func hardwareFingerprint(_ backend: any MatrixBackend) -> String {
  // A difference costs no more than that log-probs are recomputed, so whatever might matter is part of it.
  "\(ProcessorFeatures.identity); \(backend.arithmetic); build \(buildVersion) \(programIdentity)"
}

/// The version of this build, part of the fingerprint.
public let buildVersion = "0.1.0"
