import Machine
import Thinking
import Trajectories

// What a lease asks of whoever samples it.

extension Lease {
  /// Whether its samples may go on under these weights.
  public func continues(under version: Int) -> Bool { continuesAcrossVersions && policyVersions.contains(version) }

  /// Positions that the longest possible completion of the lease takes.
  public var longestSequence: Int { prompt.count + plan.longestCompletion }

  /// Why this build cannot sample it, and what to do about that; nil: it can.
  public var complaint: String? {
    guard let what = unknown ?? problem else { return nil }
    return "this build (softgrpo \(buildVersion)) does not know what the lease asks for: \(what). Run the learner's "
      + "build of softgrpo here"
  }

  private var problem: String? {
    do { return plan.problem(policy: try ThinkingPolicy(policy)) } catch { return "thinking by \(policy): \(error)" }
  }
}
