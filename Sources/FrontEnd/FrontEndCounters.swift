/// What a front end has counted since its start, beside the lease table's counts.
public struct FrontEndCounters: Sendable, Equatable {
  /// Accepted samples that became too old before they were trained on.
  public var staleAfterArrival = 0
  /// Of a relay: results of leases that it has no longer.
  public var forgottenResults = 0
  /// Results of samples that their sender was never lent: not accepted.
  public var ungrantedResults = 0
  /// Sessions that ended without a goodbye.
  public var lostSessions = 0
  /// Messages that broke the protocol; each cost its sender its session.
  public var malformedMessages = 0
  public var weightBytesSent = 0

  public init() {}
}
