extension RunConfiguration {
  /// The rollout workers' resources.
  public struct Worker: Sendable, Equatable {
    /// Worker processes that `softgrpo train` starts on this machine.
    public var count = 1
    /// Threads of one worker; 0: what affinity and the cgroup's quota allow, shared among the workers of this machine.
    public var threads = 0
    /// Sequences that one worker decodes at once.
    public var batchSize = 64
    /// A lease that nobody renews for this long goes back to the queue.
    public var leaseTimeoutSeconds = 60.0
    /// Seconds between a worker's signs of life.
    public var heartbeatSeconds = 5.0

    public init() {}
  }
}

extension RunConfiguration.Worker: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("count", \.count, 0...1024),
      .integer("threads", \.threads, 0...1024),
      .integer("batch_size", \.batchSize, 1...65_536),
      .number("lease_timeout_seconds", \.leaseTimeoutSeconds, .above(0, upTo: 86_400)),
      .number("heartbeat_seconds", \.heartbeatSeconds, .above(0, upTo: 3600)),
    ]
  }
}
