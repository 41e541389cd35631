import Rollouts
import Thinking
import Trajectories
import Wire

// What a lease asks for, in the sampling engine's words.

extension SamplingRequest {
  /// - Throws: `ParameterError` for a policy that this build does not have; such a lease was refused when it came.
  init(_ lease: Lease, policyVersion: Int) throws {
    self.init(
      id: lease.id, promptID: lease.promptID, groupOrdinal: UInt64(lease.groupOrdinal), prompt: lease.prompt,
      sampleIndices: lease.sampleIndices, policy: try ThinkingPolicy(lease.policy), plan: lease.plan,
      noise: NoiseKey(seed: lease.noiseSeed), policyVersion: policyVersion)
  }
}
