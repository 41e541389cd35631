import Rollouts
import SoftThinking
import Wire

// What a lease asks for, in the sampling engine's words.

extension Lease {
  /// Whether its samples may go on under these weights.
  func continues(under version: Int) -> Bool { continuesAcrossVersions && policyVersions.contains(version) }

  /// Positions that the longest possible completion of the lease takes.
  var longestSequence: Int { prompt.count + plan.longestCompletion }

  /// Why this build cannot sample it, and what to do about that; nil: it can.
  var complaint: String? {
    guard let what = unknown ?? problem else { return nil }
    return "this build (softgrpo \(buildVersion)) does not know what the lease asks for: \(what). Run the learner's "
      + "build of softgrpo here"
  }

  private var problem: String? {
    do { return plan.problem(policy: try ThinkingPolicy(policy)) } catch { return "thinking by \(policy): \(error)" }
  }
}

extension SamplingRequest {
  /// - Throws: `ParameterError` for a policy that this build does not have; such a lease was refused when it came.
  init(_ lease: Lease, policyVersion: Int) throws {
    self.init(
      id: lease.id, promptID: lease.promptID, groupOrdinal: UInt64(lease.groupOrdinal), prompt: lease.prompt,
      sampleIndices: lease.sampleIndices, policy: try ThinkingPolicy(lease.policy), plan: lease.plan,
      noise: NoiseKey(seed: lease.noiseSeed), policyVersion: policyVersion)
  }
}
