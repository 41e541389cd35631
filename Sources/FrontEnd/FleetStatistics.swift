import Coordination

/// What a learner knows about its workers and their work at one moment.
public struct FleetStatistics: Sendable, Equatable {
  public struct Worker: Sendable, Equatable {
    public var name: String
    public var fingerprint: String
    public var credits: Int
    public var leasedSamples: Int
    /// -1: none yet.
    public var heldVersion: Int
    public var tokensPerSecond: Double
    /// The same when it is busy, smoothed: what its share of the work follows.
    public var speed: Double
    public var activeSlots: Int
    public var isDraining: Bool
    /// What its link carries, when that is too little to follow the versions and it takes no work; 0 otherwise.
    public var narrowLinkBytesPerSecond: Int
  }

  public var workers: [Worker] = []
  public var queuedSamples = 0
  public var leasedSamples = 0
  /// What the lease table has counted: samples granted, accepted, lent twice and so on.
  public var leases = LeaseTable.Counters()
  /// What the front end has counted beside it.
  public var counters = FrontEndCounters()
  /// Connections refused for their key.
  public var refusedKeys = 0
  /// Keys refused because their holders broke the protocol.
  public var quarantinedKeys = 0
  /// `nil` before the first publication.
  public var currentVersion: Int?

  public init() {}

  /// Dropped because the policy that sampled them was too old, before or after they arrived; sampled again.
  public var staleResults: Int { leases.stale + counters.staleAfterArrival }
  /// Results of samples that are not known, or not any longer.
  public var unknownResults: Int { leases.unknown + counters.forgottenResults }
}
