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
    guard let what = unknown ?? plan.problem(policy: policy) else { return nil }
    return "this build (softgrpo \(buildVersion)) does not know what the lease asks for: \(what). Run the learner's "
      + "build of softgrpo here"
  }
}

extension SamplingRequest {
  init(_ lease: Lease, policyVersion: Int) {
    self.init(
      id: lease.id, promptID: lease.promptID, groupOrdinal: UInt64(lease.groupOrdinal), prompt: lease.prompt,
      sampleIndices: lease.sampleIndices, policy: lease.policy, plan: lease.plan,
      noise: NoiseKey(seed: lease.noiseSeed), policyVersion: policyVersion)
  }
}
