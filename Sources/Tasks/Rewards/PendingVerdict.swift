import Dispatch
import Synchronization

/// The verdict on a completion that somebody else has been asked for.
public final class PendingVerdict: Sendable {
  private let verdict = Mutex<RewardVerdict?>(nil)
  private let settled = DispatchSemaphore(value: 0)

  public init() {}

  /// The first verdict counts; later ones change nothing.
  public func settle(_ given: RewardVerdict) {
    let isFirst = verdict.withLock { verdict in
      guard verdict == nil else { return false }
      verdict = given
      return true
    }
    if isFirst { settled.signal() }
  }

  /// - Returns: whether it is settled by the deadline.
  public func wait(until deadline: DispatchTime) -> Bool {
    guard settled.wait(timeout: deadline) == .success else { return false }
    // Others may wait too.
    settled.signal()
    return true
  }

  /// Waits for as long as it takes.
  public func wait() -> RewardVerdict {
    _ = wait(until: .distantFuture)
    return verdict.withLock { $0 } ?? .notJudged(reason: "")
  }
}

/// A completion that consulted rewards have been asked about.
public struct AskedCompletion: Sendable {
  /// As it was put to them.
  let query: RewardQuery
  /// By the reward's name.
  var verdicts: [String: PendingVerdict]

  /// - Returns: whether all rewards have judged it by the deadline.
  public func wait(until deadline: DispatchTime) -> Bool { verdicts.values.allSatisfy { $0.wait(until: deadline) } }
}
