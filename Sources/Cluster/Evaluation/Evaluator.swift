import Kernels
import Observability
import Rollouts
import SoftThinking
import Tasks
import Transformer

/// Sampled accuracy of a model on prompts with known answers.
public struct Evaluator {
  /// A prompt, ready to be sampled.
  public struct Item: Sendable {
    public var id: String
    public var prompt: [Int32]
    public var answer: String

    public init(id: String, prompt: [Int32], answer: String) {
      self.id = id
      self.prompt = prompt
      self.answer = answer
    }
  }

  /// One policy's figures.
  public struct Result: Sendable, Equatable {
    public var policy: String
    public var prompts = 0
    public var samples = 0
    /// pass@k by k, unbiased, averaged over prompts.
    public var passAt: [Int: Double] = [:]
    /// maj@k by k.
    public var majorityAt: [Int: Double] = [:]
    public var meanThinkingLength = 0.0
    public var meanCompletionLength = 0.0
    /// Share of samples that ended with a stop token.
    public var stopped = 0.0
    public var tokensPerSecond = 0.0

    /// The figures under their names in `metrics.jsonl`.
    public var metrics: [String: Double] {
      var metrics = [MetricName.evaluationLength(policy: policy): meanCompletionLength]
      for (k, share) in passAt { metrics[MetricName.passAt(k, policy: policy)] = share }
      for (k, share) in majorityAt { metrics[MetricName.majorityAt(k, policy: policy)] = share }
      return metrics
    }
  }

  public var samples: Int
  public var k: [Int]
  public var seed: UInt64
  public var slots: Int

  public init(samples: Int, k: [Int], seed: UInt64, slots: Int) {
    self.samples = samples
    self.k = k
    self.seed = seed
    self.slots = slots
  }

  /// Samples every prompt `samples` times under one policy.
  ///
  /// - Parameters:
  ///   - completion: what a trajectory says.
  ///   - isCorrect: whether an answer's text is right.
  ///   - progress: called after each batched step with the samples finished so far; returns false to stop.
  /// - Throws: `SamplingError`.
  public func evaluate(
    _ items: [Item], model: PreparedModel, policy: ThinkingPolicy, options: SamplingOptions, team: ThreadTeam,
    completion: (Trajectory) -> Completion, isCorrect: (Completion, String) -> Bool,
    progress: (_ finished: Int, _ total: Int) -> Bool = { _, _ in true }
  ) throws -> Result {
    let start = monotonicSeconds()
    let longest =
      (items.map(\.prompt.count).max() ?? 0) + options.maxThinkingTokens + 1 + options.answerPrefix.count
      + options.maxAnswerTokens
    let engine = try SamplingEngine(
      model: model, slots: min(slots, max(1, items.count * samples)),
      maximumPositions: min(longest, model.configuration.contextLength), team: team)
    for (index, item) in items.enumerated() {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: item.id, groupOrdinal: UInt64(index), prompt: item.prompt,
          sampleIndices: Array(0..<samples), policy: policy, options: options, noise: NoiseKey(seed: seed),
          policyVersion: 0))
    }
    var correct = [Int](repeating: 0, count: items.count)
    var votes = [[(index: Int, answer: String?, isCorrect: Bool)]](repeating: [], count: items.count)
    var result = Result(policy: policy.kind.rawValue, prompts: items.count, samples: samples)
    var (finished, thinking, length, stopped) = (0, 0, 0, 0)
    while !engine.isIdle {
      for sample in try engine.step() {
        let index = Int(sample.requestID)
        let said = completion(sample.trajectory)
        let isRight = isCorrect(said, items[index].answer)
        correct[index] += isRight ? 1 : 0
        votes[index].append((sample.trajectory.sampleIndex, AnswerExtraction.finalAnswer(in: said.text), isRight))
        thinking += said.thinkingLength
        length += said.length
        stopped += said.finishReason == .stop ? 1 : 0
        finished += 1
      }
      if !progress(finished, items.count * samples) { throw SamplingError("the evaluation was stopped") }
    }
    let total = Double(max(1, finished))
    for k in k where k <= samples {
      result.passAt[k] =
        try correct.reduce(0.0) { $0 + (try passAtK(n: samples, c: $1, k: k)) } / Double(max(1, items.count))
      result.majorityAt[k] =
        try votes.reduce(0.0) { total, votes in
          let ordered = votes.sorted { $0.index < $1.index }
          return total
            + (try majorityAtK(
              answers: ordered.map(\.answer), isCorrect: ordered.map(\.isCorrect), k: k,
              areEqual: MathVerifier.areEqual))
        } / Double(max(1, items.count))
    }
    result.meanThinkingLength = Double(thinking) / total
    result.meanCompletionLength = Double(length) / total
    result.stopped = Double(stopped) / total
    result.tokensPerSecond = Double(length) / max(1e-9, monotonicSeconds() - start)
    return result
  }
}
