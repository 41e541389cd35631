import Rollouts
import SoftThinking
import Wire

// What a lease asks for, in the sampling engine's words.

extension Lease {
  /// Whether its samples may go on under these weights.
  func continues(under version: Int) -> Bool { continuesAcrossVersions && policyVersions.contains(version) }

  /// Why this build cannot work on it, with what to upgrade; nil: it can.
  var refusal: String? {
    do {
      _ = try ThinkingPolicy(policy)
      return nil
    } catch {
      return "lease \(id) thinks by \(policy), which this build does not have (\(error)); upgrade softgrpo here to the "
        + "learner's build"
    }
  }

  /// Positions that the longest possible completion of the lease takes.
  var longestSequence: Int {
    prompt.count + options.maxThinkingTokens + 1 + options.answerPrefixTokenIDs.count + options.maxAnswerTokens
  }
}

extension SamplingRequest {
  /// - Throws: `ParameterError` for a policy that this build does not have; such a lease was refused when it came.
  init(_ lease: Lease, policyVersion: Int) throws {
    self.init(
      id: lease.id, promptID: lease.promptID, groupOrdinal: UInt64(lease.groupOrdinal), prompt: lease.prompt,
      sampleIndices: lease.sampleIndices, policy: try ThinkingPolicy(lease.policy),
      options: Rollouts.SamplingOptions(lease.options),
      noise: NoiseKey(seed: lease.noiseSeed), policyVersion: policyVersion)
  }
}

extension Rollouts.SamplingOptions {
  init(_ wire: Wire.SamplingOptions) {
    self.init(
      maxThinkingTokens: wire.maxThinkingTokens, endOfThinkingTokens: wire.endOfThinkingTokenIDs,
      forcedEndToken: wire.forceEndTokenID, answerPrefix: wire.answerPrefixTokenIDs, stopTokens: wire.stopTokenIDs,
      maxAnswerTokens: wire.maxAnswerTokens,
      answer: DiscreteSampling(
        temperature: wire.answerTemperature, topK: wire.answerTopK, topP: wire.answerTopP))
  }
}
