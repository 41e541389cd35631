/// How the learner updates the weights (docs/algorithm.md) and where workers find it. Its keys stand in one section of the file; here
/// they are grouped by what reads them.
public struct LearnerSection: Sendable, Equatable {
  public var endpoints = LearnerEndpoints()
  /// Policy versions that a trajectory may lag behind; 0: strictly on-policy.
  public var maxStaleness = 0
  public var optimizer = OptimizerSettings()
  public var method = MethodSettings()
  public var batches = BatchSettings()
  public var checks = CheckSettings()
  /// Steps between checkpoints; 0: only at the end.
  public var checkpointInterval = 50
  /// Newest checkpoints that are kept; 0: all.
  public var keepCheckpoints = 2
  /// Threads of the learner; 0: what affinity and the cgroup's quota allow.
  public var threads = 0

  public init() {}

  func check(_ rules: inout Rules, of run: RunConfiguration) {
    endpoints.check(&rules)
    optimizer.check(&rules, totalSteps: run.run.totalSteps)
    method.check(&rules, groupSize: run.rollout.groupSize, miniBatchSize: run.miniBatchSize)
    batches.check(&rules, trajectoriesPerStep: run.trajectoriesPerStep)
  }
}

extension LearnerSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    Field.keys(of: \.endpoints)
      + [.integer("max_staleness", \.maxStaleness, 0...1_000_000)]
      + Field.keys(of: \.optimizer)
      + Field.keys(of: \.method)
      + Field.keys(of: \.batches)
      + Field.keys(of: \.checks)
      + [
        .integer("checkpoint_interval", \.checkpointInterval, 0...1_000_000_000),
        .integer("keep_checkpoints", \.keepCheckpoints, 0...1_000_000),
        .integer("threads", \.threads, 0...1024),
      ]
  }
}

/// How a step is cut into updates and passes, and who computes their gradients.
public struct BatchSettings: Sendable, Equatable {
  /// Who computes gradients.
  public enum GradientLeases: String, Sendable, CaseIterable {
    /// The learner, and workers on other machines that have its fingerprint: the same bits whoever computes.
    case auto
    /// The learner alone, one micro-batch after the other in one buffer.
    case off
    /// The learner and any worker, whatever its arithmetic: the bits depend on who was there.
    case any
  }

  /// Number format of gradients on the wire and in their sum.
  public enum GradientDataType: String, Sendable, CaseIterable {
    case float32, bfloat16
  }

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

  public init() {}

  func check(_ rules: inout Rules, trajectoriesPerStep: Int) {
    rules.require(
      miniBatchSize == 0 || trajectoriesPerStep.isMultiple(of: miniBatchSize),
      "learner.mini_batch_size: must divide prompts_per_step x group_size = \(trajectoriesPerStep), got \(miniBatchSize)"
    )
  }
}

extension BatchSettings: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("mini_batch_size", \.miniBatchSize, 0...268_435_456),
      .integer("micro_batch_tokens", \.microBatchTokens, 1...16_777_216),
      .choice("gradient_leases", \.gradientLeases),
      .choice("gradient_dtype", \.gradientDtype),
      .integer("activation_memory_budget", \.activationMemoryBudget, 0...1_073_741_824),
    ]
  }
}

/// What of the workers' results is compared with the learner's own arithmetic (docs/security.md).
public struct CheckSettings: Sendable, Equatable {
  /// How many of the trajectories that workers send are sampled again and compared.
  public enum Verification: String, Sendable, CaseIterable {
    /// Every one.
    case all
    /// One at least of every key in every step, and one in a hundred of the others.
    case sampled
    case off
  }

  /// Check at start-up that worker and learner compute the same bits with this model on this machine.
  public var selfTest = true
  /// Least share of a step's trajectories whose log-probs are compared with the worker's; 0: only those that cost nothing.
  public var auditFraction = 0.05
  /// Which trajectories are sampled again with their noise and compared; who is caught is not trained on.
  public var verification = Verification.sampled
  /// Probability that a leaf whose gradient another computed is computed again before it is added; 0: never.
  public var gradientVerification = 0.01

  public init() {}
}

extension CheckSettings: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .flag("self_test", \.selfTest),
      .number("audit_fraction", \.auditFraction, .between(0, 1)),
      .choice("verification", \.verification),
      .number("gradient_verification", \.gradientVerification, .between(0, 1)),
    ]
  }
}
