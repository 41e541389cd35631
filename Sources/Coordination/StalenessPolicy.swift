/// Which policy versions may still be trained on (DESIGN 2, "Pace, don't drop").
public struct StalenessPolicy: Sendable, Equatable {
  /// Versions a sample may be behind the learner; 0 = strictly on-policy.
  public let maximum: Int

  /// - Parameter maximum: negative numbers mean 0.
  public init(maximum: Int) { self.maximum = max(0, maximum) }

  /// Whether a sample of `version` may be trained on while the learner is at `current`. Versions from the future (of another
  /// history of the run) never may.
  public func accepts(version: Int, current: Int) -> Bool {
    version <= current && version >= oldest(current: current)
  }

  /// The oldest version that may still be trained on.
  public func oldest(current: Int) -> Int { max(0, current - maximum) }

  /// The versions that may sample a lease granted now: exactly the current one when on-policy; otherwise also any newer one,
  /// because a fresher sample is always welcome.
  public func leaseVersions(current: Int) -> ClosedRange<Int> {
    maximum == 0 ? current...current : oldest(current: current)...Int.max
  }
}
