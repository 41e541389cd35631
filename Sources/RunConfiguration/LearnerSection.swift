import Credit
import Objectives
import Parameters

extension RunConfiguration {
  /// How the learner updates the weights (docs/algorithm.md) and where workers find it.
  public struct Learner: Sendable, Equatable {
    /// Where the divergence from the starting weights stands.
    public enum KLPlacement: String, Sendable, CaseIterable {
      case loss, reward
    }

    public enum Schedule: String, Sendable, CaseIterable {
      case constant, linear, cosine
    }

    /// Who computes gradients.
    public enum GradientLeases: String, Sendable, CaseIterable {
      /// The learner, and workers on other machines that have its fingerprint: the same bits whoever computes.
      case auto
      /// The learner alone, one micro-batch after the other in one buffer.
      case off
      /// The learner and any worker, whatever its arithmetic: the bits depend on who was there.
      case any
    }

    /// How many of the trajectories that workers send are sampled again and compared.
    public enum Verification: String, Sendable, CaseIterable {
      /// Every one.
      case all
      /// One at least of every key in every step, and one in a hundred of the others.
      case sampled
      case off
    }

    /// Number format of gradients on the wire and in their sum.
    public enum GradientDataType: String, Sendable, CaseIterable {
      case float32, bfloat16
    }

    /// Socket that workers send trajectories to. Anything but loopback needs keys or `--insecure`.
    public var controlEndpoint = "tcp://127.0.0.1:5555"
    /// Socket that announces new weights.
    public var broadcastEndpoint = "tcp://127.0.0.1:5556"
    /// Secret key file of the learner (`softgrpo keygen`); null: no keys.
    public var serverKey: String?
    /// File of the workers' public keys that may connect; read again when it changes.
    public var authorizedWorkers: String?
    /// Policy versions that a trajectory may lag behind; 0: strictly on-policy.
    public var maxStaleness = 0
    /// AdamW's peak learning rate.
    public var learningRate = 1e-6
    public var adamBeta1 = 0.9
    public var adamBeta2 = 0.999
    public var adamEpsilon = 1e-8
    public var weightDecay = 0.01
    /// The gradient's norm is scaled down to this; 0: never.
    public var maxGradNorm = 1.0
    public var lrSchedule = Schedule.constant
    /// Steps over which the learning rate rises from 0.
    public var warmupSteps = 0
    /// Share of the peak learning rate that `linear` and `cosine` end at.
    public var minLRRatio = 0.0
    /// What is minimised: the name of an objective.
    public var objective = "clipped"
    /// How a group's rewards become advantages: the name of an estimator.
    public var advantage = "grpo"
    /// Parameters of the objective, the estimator, the correction and the selection.
    public var parameters = ParameterSettings()
    /// How the losses of scored steps become one number.
    public var lossAggregation = LossAggregation.tokenMean
    /// Weight beta of the KL term against the starting weights; 0: no reference model is held.
    public var klCoefficient = 0.0
    public var klEstimator = KLEstimator.k3
    /// In the loss, or as a penalty of the reward, from which the advantages then follow.
    public var klPlacement = KLPlacement.loss
    /// What is done about log-probs that are not the learner's: the name of a correction.
    public var correction = "truncated_importance"
    /// Which trajectories and steps are learned from: the name of a selection.
    public var selection = "all"
    /// Leave trajectories that their budget ended out of their group's statistics and of the loss.
    public var excludeOverlong = false
    /// Trajectories of an optimiser step; 0: the whole step's.
    public var miniBatchSize = 0
    /// Tokens of a micro-batch: bounds the activations held at once. A longer trajectory stands alone.
    public var microBatchTokens = 4096
    /// Who computes the micro-batches' gradients.
    public var gradientLeases = GradientLeases.auto
    /// What each node of the gradients' sum is rounded to, the learner's own too.
    public var gradientDtype = GradientDataType.float32
    /// MiB that the activations of a micro-batch may take; one that needs more keeps its layers' inputs alone and computes
    /// the rest again, the same bits. 0: half of this machine's memory.
    public var activationMemoryBudget = 0
    /// Check at start-up that worker and learner compute the same bits with this model on this machine.
    public var selfTest = true
    /// Least share of a step's trajectories whose log-probs are compared with the worker's; 0: only those that cost nothing.
    public var auditFraction = 0.05
    /// Which trajectories are sampled again with their noise and compared; who is caught is not trained on.
    public var verification = Verification.sampled
    /// Probability that a leaf whose gradient another computed is computed again before it is added; 0: never.
    public var gradientVerification = 0.01
    /// Cap of the importance weights that correct for other arithmetic at equal weights; null: no correction.
    public var importanceCap: Double? = 2.0
    /// Clip the ratio of trajectories of older versions around the learner's policy at the start of the step, instead of the
    /// one that sampled, and weight them by how much more probable it has made their steps.
    public var decoupledClipping = false
    /// Cap of those weights.
    public var behaviourWeightCap = 5.0
    /// Steps between checkpoints; 0: only at the end.
    public var checkpointInterval = 50
    /// Newest checkpoints that are kept; 0: all.
    public var keepCheckpoints = 2
    /// Threads of the learner; 0: what affinity and the cgroup's quota allow.
    public var threads = 0

    public init() {}
  }
}

extension RunConfiguration.Learner: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .text("control_endpoint", \.controlEndpoint),
      .text("broadcast_endpoint", \.broadcastEndpoint),
      .optionalText("server_key", \.serverKey),
      .optionalText("authorized_workers", \.authorizedWorkers),
      .integer("max_staleness", \.maxStaleness, 0...1_000_000),
      .number("learning_rate", \.learningRate, .between(0, 1)),
      .number("adam_beta1", \.adamBeta1, .from(0, below: 1)),
      .number("adam_beta2", \.adamBeta2, .from(0, below: 1)),
      .number("adam_epsilon", \.adamEpsilon, .above(0)),
      .number("weight_decay", \.weightDecay, .atLeast(0)),
      .number("max_grad_norm", \.maxGradNorm, .atLeast(0)),
      .choice("lr_schedule", \.lrSchedule),
      .integer("warmup_steps", \.warmupSteps, 0...1_000_000_000),
      .number("min_lr_ratio", \.minLRRatio, .between(0, 1)),
      .part("objective", \.objective, of: objectives),
    ] + Field.parameters(of: objectives, \.parameters, chosen: \.objective) + [
      .part("advantage", \.advantage, of: advantageEstimators)
    ] + Field.parameters(of: advantageEstimators, \.parameters, chosen: \.advantage) + [
      .part("correction", \.correction, of: corrections)
    ] + Field.parameters(of: corrections, \.parameters, chosen: \.correction) + [
      .part("selection", \.selection, of: selections)
    ] + Field.parameters(of: selections, \.parameters, chosen: \.selection) + [
      .flag("exclude_overlong", \.excludeOverlong),
      .choice("loss_aggregation", \.lossAggregation),
      .number("kl_coefficient", \.klCoefficient, .atLeast(0)),
      .choice("kl_estimator", \.klEstimator),
      .choice("kl_placement", \.klPlacement),
      .integer("mini_batch_size", \.miniBatchSize, 0...268_435_456),
      .integer("micro_batch_tokens", \.microBatchTokens, 1...16_777_216),
      .choice("gradient_leases", \.gradientLeases),
      .choice("gradient_dtype", \.gradientDtype),
      .integer("activation_memory_budget", \.activationMemoryBudget, 0...1_073_741_824),
      .flag("self_test", \.selfTest),
      .number("audit_fraction", \.auditFraction, .between(0, 1)),
      .choice("verification", \.verification),
      .number("gradient_verification", \.gradientVerification, .between(0, 1)),
      .optionalNumber("importance_cap", \.importanceCap, .atLeast(1)),
      .flag("decoupled_clipping", \.decoupledClipping),
      .number("behaviour_weight_cap", \.behaviourWeightCap, .atLeast(1)),
      .integer("checkpoint_interval", \.checkpointInterval, 0...1_000_000_000),
      .integer("keep_checkpoints", \.keepCheckpoints, 0...1_000_000),
      .integer("threads", \.threads, 0...1024),
    ]
  }
}

extension RunConfiguration {
  /// Keys that the file gives and that nothing reads, because another objective, advantage or policy is chosen.
  public var unusedParameters: [String] {
    let objective = (try? objectives.entry(learner.objective))?.parameters ?? []
    let advantage = (try? advantageEstimators.entry(learner.advantage))?.parameters ?? []
    let correction = (try? corrections.entry(learner.correction))?.parameters ?? []
    let selection = (try? selections.entry(learner.selection))?.parameters ?? []
    let used = Set((objective + advantage + correction + selection).map(\.name))
    return learner.parameters.given.keys.filter { !used.contains($0) }.sorted().map { "learner.\($0)" }
  }
}

extension RunConfiguration.Learner {
  /// The objective with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the objective refuses.
  public func describedObjective() throws(ParameterError) -> PartDescription {
    try objectives.describe(
      objective, parameters.given.filter { objectives.knows(parameter: $0.key) }, prefix: "learner.")
  }

  /// The correction with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the correction refuses.
  public func describedCorrection() throws(ParameterError) -> PartDescription {
    try corrections.describe(
      correction, parameters.given.filter { corrections.knows(parameter: $0.key) }, prefix: "learner.")
  }

  public var correctionCaps: CorrectionCaps {
    CorrectionCaps(importance: importanceCap, behaviour: behaviourWeightCap)
  }

  /// The selection with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the selection refuses.
  public func describedSelection() throws(ParameterError) -> PartDescription {
    try selections.describe(
      selection, parameters.given.filter { selections.knows(parameter: $0.key) }, prefix: "learner.")
  }

  /// The advantage estimator with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the estimator refuses.
  public func describedAdvantage() throws(ParameterError) -> PartDescription {
    try advantageEstimators.describe(
      advantage, parameters.given.filter { advantageEstimators.knows(parameter: $0.key) }, prefix: "learner.")
  }
}
