import SoftThinking

/// What went wrong while sampling, and what to do about it.
public struct SamplingError: Error, Sendable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}

/// The course of a trajectory after its prompt: thinking, its end, a forced prefix, the answer.
public struct SamplingOptions: Sendable, Equatable {
  /// Thinking steps at most; 0: none.
  public var maxThinkingTokens: Int
  /// Thinking ends when one of these is emitted; it is then a discrete token.
  public var endOfThinkingTokens: [Int32]
  /// Forced when the budget runs out first; nil: nothing is.
  public var forcedEndToken: Int32?
  /// Forced before the answer, never scored.
  public var answerPrefix: [Int32]
  /// The answer ends with one of these.
  public var stopTokens: [Int32]
  /// Answer tokens at most; at least 1.
  public var maxAnswerTokens: Int
  public var answer: DiscreteSampling

  public init(
    maxThinkingTokens: Int, endOfThinkingTokens: [Int32] = [], forcedEndToken: Int32? = nil, answerPrefix: [Int32] = [],
    stopTokens: [Int32] = [], maxAnswerTokens: Int, answer: DiscreteSampling = DiscreteSampling()
  ) {
    self.maxThinkingTokens = maxThinkingTokens
    self.endOfThinkingTokens = endOfThinkingTokens
    self.forcedEndToken = forcedEndToken
    self.answerPrefix = answerPrefix
    self.stopTokens = stopTokens
    self.maxAnswerTokens = maxAnswerTokens
    self.answer = answer
  }

  /// Positions that the longest completion takes.
  public var longestCompletion: Int { maxThinkingTokens + 1 + answerPrefix.count + maxAnswerTokens }
}

/// A prompt and the samples wanted of it.
public struct SamplingRequest: Sendable {
  /// The caller's name for it, returned with each trajectory.
  public var id: UInt64
  public var promptID: String
  /// Part of the noise counter.
  public var groupOrdinal: UInt64
  public var prompt: [Int32]
  public var sampleIndices: [Int]
  public var policy: ThinkingPolicy
  public var options: SamplingOptions
  public var noise: NoiseKey
  public var policyVersion: Int

  public init(
    id: UInt64, promptID: String, groupOrdinal: UInt64, prompt: [Int32], sampleIndices: [Int], policy: ThinkingPolicy,
    options: SamplingOptions, noise: NoiseKey, policyVersion: Int
  ) {
    self.id = id
    self.promptID = promptID
    self.groupOrdinal = groupOrdinal
    self.prompt = prompt
    self.sampleIndices = sampleIndices
    self.policy = policy
    self.options = options
    self.noise = noise
    self.policyVersion = policyVersion
  }

  /// Checks the request against a model.
  ///
  /// - Throws: `SamplingError` naming the prompt and the limit.
  func validate(vocabularySize: Int, maximumPositions: Int) throws {
    func fail(_ reason: String) throws -> Never { throw SamplingError("prompt \(promptID): \(reason)") }
    guard !prompt.isEmpty else { try fail("is empty") }
    guard options.maxThinkingTokens >= 0, options.maxAnswerTokens >= 1 else {
      try fail("max_thinking_tokens must be at least 0 and max_answer_tokens at least 1")
    }
    let tokens = prompt + options.answerPrefix + options.stopTokens + options.endOfThinkingTokens
    if let bad = (tokens + [options.forcedEndToken ?? 0]).first(where: { $0 < 0 || Int($0) >= vocabularySize }) {
      try fail("token id \(bad) is outside the vocabulary of \(vocabularySize)")
    }
    guard prompt.count + options.longestCompletion <= maximumPositions else {
      try fail(
        "\(prompt.count) tokens and a completion of up to \(options.longestCompletion) exceed \(maximumPositions) positions; "
          + "shorten the prompt or lower max_thinking_tokens or max_answer_tokens")
    }
    guard sampleIndices.allSatisfy({ (0...Int(UInt32.max)).contains($0) }) else {
      try fail("a sample index is negative")
    }
  }
}

/// A finished sample.
public struct SampledTrajectory: Sendable {
  public var requestID: UInt64
  public var trajectory: Trajectory
}

/// What an engine has done since it was made.
public struct SamplingStatistics: Sendable, Equatable {
  /// Steps and tokens drawn, forced ones excluded.
  public var sampledTokens = 0
  /// Prompt tokens computed; a shared prompt counts once.
  public var prefilledTokens = 0
  /// Batched decode steps.
  public var steps = 0
}

/// One drawn step, as an observer sees it.
public enum SampledStep: Sendable {
  /// A soft step: recorded ids, and the mixture weights of those that are fed.
  case soft(ids: [Int32], weights: [Float])
  case token(Int32)
  case forced([Int32])
}
