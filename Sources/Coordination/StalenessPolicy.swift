/// Which policy versions may still be trained on (docs/asynchrony.md).
public struct StalenessPolicy: Sendable, Equatable {
  /// Versions a sample may be behind the learner; 0 = strictly on-policy.
  public let maximum: Int

  /// - Parameter maximum: negative numbers mean 0.
  public init(maximum: Int) { self.maximum = max(0, maximum) }

  /// The oldest version that may still be trained on.
  public func oldest(current: Int) -> Int { max(0, current - maximum) }

  /// The oldest version whose samples will still be fresh enough for a group that is trained on at version `due` (`Int.max`:
  /// whenever it arrives).
  public func oldest(current: Int, due: Int) -> Int {
    due == .max ? oldest(current: current) : max(oldest(current: current), oldest(current: due))
  }

  /// The versions that may sample a lease granted now: exactly the current one when on-policy; otherwise also any newer one
  /// than the oldest allowed, because a fresher sample is always welcome.
  ///
  /// A sample is judged when it is trained on: what a group submitted ahead of its turn needs depends on the version at
  /// which that turn comes, `due`.
  public func leaseVersions(current: Int, due: Int = .max) -> ClosedRange<Int> {
    maximum == 0 ? current...current : oldest(current: current, due: due)...Int.max
  }
}
