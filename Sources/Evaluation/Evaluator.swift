import JSON
import Kernels
import Machine
import Observability
import Rollouts
import Tasks
import Thinking
import Trajectories
import Transformer
import Verifier

/// Sampled accuracy of a model on prompts with known answers.
public struct Evaluator {
  /// A prompt, ready to be sampled.
  public struct Item: Sendable {
    public var id: String
    public var prompt: [Int32]
    /// The question as text.
    public var question: String
    public var answer: String
    /// The other fields of the prompt's line, for rewards.
    public var fields: JSONObject?

    public init(id: String, prompt: [Int32], question: String, answer: String, fields: JSONObject? = nil) {
      self.fields = fields
      self.id = id
      self.prompt = prompt
      self.question = question
      self.answer = answer
    }
  }

  /// One policy's figures.
  public struct Result: Sendable, Equatable {
    /// Of `eval.datasets`; nil: the run's own held-out prompts.
    public var dataset: String?
    public var policy: String
    public var prompts = 0
    public var samples = 0
    /// pass@k by k, unbiased, averaged over prompts.
    public var passAt: [Int: Double] = [:]
    /// maj@k by k.
    public var majorityAt: [Int: Double] = [:]
    public var meanThinkingLength = 0.0
    public var meanCompletionLength = 0.0
    /// Mean thinking steps of the samples whose answer is right, and of those whose answer is wrong; nil: there is none.
    public var thinkingLengthCorrect: Double?
    public var thinkingLengthWrong: Double?
    /// Of all samples' thinking.
    public var softness = Softness()
    /// Share of samples that ended with a stop token.
    public var stopped = 0.0
    public var tokensPerSecond = 0.0
    /// Samples that could not be judged: pass@k and maj@k are of the others, and of prompts with k of them.
    public var notJudged = 0

    /// The figures under their names in `metrics.jsonl`.
    public var metrics: [String: Double] {
      var metrics = [MetricName.evaluationLength(policy: policy, dataset: dataset): meanCompletionLength]
      for (k, share) in passAt { metrics[MetricName.passAt(k, policy: policy, dataset: dataset)] = share }
      for (k, share) in majorityAt { metrics[MetricName.majorityAt(k, policy: policy, dataset: dataset)] = share }
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
  ///   - ends: tokens that end a thought.
  ///   - completion: what a trajectory says.
  ///   - judge: whether each answer is right; nil: that cannot be said, and the sample does not count.
  ///   - progress: called after each batched step with the samples finished so far; returns false to stop.
  /// - Throws: `SamplingError`, and what `judge` throws.
  public func evaluate(
    _ items: [Item], model: PreparedModel, policy: ThinkingPolicy, plan: CompletionPlan, team: ThreadTeam,
    ends: [Int32], completion: (Trajectory) -> Completion, judge: ([RewardQuery]) throws -> [Bool?],
    progress: (_ finished: Int, _ total: Int) -> Bool = { _, _ in true }
  ) throws -> Result {
    let start = MonotonicClock.seconds()
    let longest = (items.map(\.prompt.count).max() ?? 0) + plan.longestCompletion
    let engine = try SamplingEngine(
      model: model, slots: min(slots, max(1, items.count * samples)),
      maximumPositions: min(longest, model.configuration.contextLength), team: team)
    for (index, item) in items.enumerated() {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: item.id, groupOrdinal: UInt64(index), prompt: item.prompt,
          sampleIndices: Array(0..<samples), policy: policy, plan: plan, noise: NoiseKey(seed: seed),
          policyVersion: 0))
    }
    var result = Result(policy: policy.name, prompts: items.count, samples: samples)
    var queries: [RewardQuery] = []
    var thoughts: [(prompt: Int, sample: Int, softness: Softness)] = []
    while !engine.isIdle {
      for sample in try engine.step() {
        let index = Int(sample.requestID)
        var softness = Softness()
        softness.add(sample.trajectory, ends: ends)
        thoughts.append((index, sample.trajectory.sampleIndex, softness))
        queries.append(
          RewardQuery(
            promptID: items[index].id, question: items[index].question, answer: items[index].answer,
            fields: items[index].fields,
            completion: completion(sample.trajectory), group: index, sampleIndex: sample.trajectory.sampleIndex))
      }
      if !progress(queries.count, items.count * samples) { throw SamplingError("the evaluation was stopped") }
    }
    let sampled = MonotonicClock.seconds()
    // In one order, whatever the sampling's: sums have its bits.
    thoughts.sort { ($0.prompt, $0.sample) < ($1.prompt, $1.sample) }
    for thought in thoughts { result.softness.merge(thought.softness) }
    queries.sort { ($0.group, $0.sampleIndex) < ($1.group, $1.sampleIndex) }
    var votes = [[(answer: String?, isCorrect: Bool)]](repeating: [], count: items.count)
    var lengths: [Bool: [Int]] = [:]
    for (query, isCorrect) in zip(queries, try judge(queries)) {
      guard let isCorrect else {
        result.notJudged += 1
        continue
      }
      lengths[isCorrect, default: []].append(query.completion.thinkingLength)
      votes[query.group].append((AnswerExtraction.finalAnswer(in: query.completion.text), isCorrect))
    }
    let thinking = queries.reduce(0) { $0 + $1.completion.thinkingLength }
    let length = queries.reduce(0) { $0 + $1.completion.length }
    let stopped = queries.count { $0.completion.finishReason == .stop }
    let total = Double(max(1, queries.count))
    for k in k where k <= samples {
      let judged = votes.filter { $0.count >= k }
      if judged.isEmpty && !items.isEmpty { continue }
      let prompts = Double(max(1, judged.count))
      result.passAt[k] =
        try judged.reduce(0.0) { $0 + (try passAtK(n: $1.count, c: $1.count(where: \.isCorrect), k: k)) } / prompts
      result.majorityAt[k] =
        try judged.reduce(0.0) { total, votes in
          total
            + (try majorityAtK(
              answers: votes.map(\.answer), isCorrect: votes.map(\.isCorrect), k: k,
              areEqual: MathVerifier.areEqual))
        } / prompts
    }
    func mean(_ lengths: [Int]?) -> Double? { lengths.map { Double($0.reduce(0, +)) / Double($0.count) } }
    (result.thinkingLengthCorrect, result.thinkingLengthWrong) = (mean(lengths[true]), mean(lengths[false]))
    result.meanThinkingLength = Double(thinking) / total
    result.meanCompletionLength = Double(length) / total
    result.stopped = Double(stopped) / total
    result.tokensPerSecond = Double(length) / max(1e-9, sampled - start)
    return result
  }
}
