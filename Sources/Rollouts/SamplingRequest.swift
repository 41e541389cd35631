import Thinking
import Trajectories

/// What went wrong while sampling, and what to do about it.
public struct SamplingError: Error, Sendable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
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
  public var plan: CompletionPlan
  public var noise: NoiseKey
  public var policyVersion: Int

  public init(
    id: UInt64, promptID: String, groupOrdinal: UInt64, prompt: [Int32], sampleIndices: [Int], policy: ThinkingPolicy,
    plan: CompletionPlan, noise: NoiseKey, policyVersion: Int
  ) {
    self.id = id
    self.promptID = promptID
    self.groupOrdinal = groupOrdinal
    self.prompt = prompt
    self.sampleIndices = sampleIndices
    self.policy = policy
    self.plan = plan
    self.noise = noise
    self.policyVersion = policyVersion
  }

  /// Checks the request against a model.
  ///
  /// - Throws: `SamplingError` naming the prompt and the limit.
  func validate(vocabularySize: Int, hiddenSize: Int, maximumPositions: Int) throws {
    func fail(_ reason: String) throws -> Never { throw SamplingError("prompt \(promptID): \(reason)") }
    guard !prompt.isEmpty else { try fail("is empty") }
    if let problem = plan.problem(policy: policy, hiddenSize: hiddenSize) { try fail(problem) }
    let unknown =
      prompt.first { $0 < 0 || Int($0) >= vocabularySize } ?? plan.unknownToken(vocabularySize: vocabularySize)
    if let unknown { try fail("token id \(unknown) is outside the vocabulary of \(vocabularySize)") }
    guard prompt.count + plan.longestCompletion <= maximumPositions else {
      try fail(
        "\(prompt.count) tokens and a completion of up to \(plan.longestCompletion) exceed \(maximumPositions) positions; "
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
