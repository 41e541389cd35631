/// The rollout workers' resources.
public struct WorkerSection: Sendable, Equatable {
  /// Worker processes that `softgrpo train` starts on this machine.
  public var count = 1
  /// Threads of one worker; 0: what affinity and the cgroup's quota allow, shared among the workers of this machine.
  public var threads = 0
  /// Arithmetic of the matrix products in rollouts.
  public enum DataType: String, Sendable, CaseIterable {
    /// The learner's, `model.dtype`.
    case auto
    case bfloat16, float32
    /// Weights quantized per output channel, activations in groups of a row; faster, and a policy of its own.
    case int8
  }

  /// Arithmetic of the workers that `softgrpo train` starts; a worker on another box is given `--dtype`.
  public var dtype = DataType.auto
  /// Sequences that one worker decodes at once.
  public var batchSize = 64
  /// A lease that nobody renews for this long goes back to the queue.
  public var leaseTimeoutSeconds = 60.0
  /// Workers that may be lost with a sample before it is set aside.
  public var maxLossesPerSample = 8
  /// Seconds between a worker's signs of life.
  public var heartbeatSeconds = 5.0

  public init() {}
}

extension WorkerSection {
  func check(_ rules: inout Rules) {
    rules.require(
      heartbeatSeconds * 2 <= leaseTimeoutSeconds,
      "worker.heartbeat_seconds: must be at most half of lease_timeout_seconds = \(plain(leaseTimeoutSeconds)), got \(plain(heartbeatSeconds))"
    )
  }
}

extension WorkerSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("count", \.count, 0...1024),
      .integer("threads", \.threads, 0...1024),
      .choice("dtype", \.dtype),
      .integer("batch_size", \.batchSize, 1...65_536),
      .number("lease_timeout_seconds", \.leaseTimeoutSeconds, .above(0, upTo: 86_400)),
      .integer("max_losses_per_sample", \.maxLossesPerSample, 1...1_000_000),
      .number("heartbeat_seconds", \.heartbeatSeconds, .between(0.01, 3600)),
    ]
  }
}
