import JSON
import Kernels
import Machine
import Rollouts
import Tasks
import Thinking
import Trajectories
import Transformer

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
  ///   - name: under which the policy's figures go.
  ///   - ends: tokens that end a thought.
  ///   - completion: what a trajectory says.
  ///   - rewards: those among them that judge answers say which are right and how they vote.
  ///   - known: samples of whole prompts that were taken before; those prompts are not sampled again.
  ///   - record: called with all samples of one prompt, judged.
  ///   - progress: called after each batched step with the samples finished so far; returns false to stop.
  /// - Throws: `SamplingError`, and what `rewards` and `record` throw.
  public func evaluate(
    _ items: [Item], model: PreparedModel, policy: ThinkingPolicy, plan: CompletionPlan, named name: String,
    team: ThreadTeam, ends: [Int32], completion: (Trajectory) -> Completion, rewards: RewardSum,
    known: [EvaluationSample] = [], record: ([EvaluationSample]) throws -> Void = { _ in },
    progress: (_ finished: Int, _ total: Int) -> Bool = { _, _ in true }
  ) throws -> Result {
    let longest = (items.map(\.prompt.count).max() ?? 0) + plan.longestCompletion
    let engine = try SamplingEngine(
      model: model, slots: min(slots, max(1, items.count * samples)),
      maximumPositions: min(longest, model.configuration.contextLength), team: team)
    let taken = Set(known.map(\.prompt))
    for (index, item) in items.enumerated() where !taken.contains(index) {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: item.id, groupOrdinal: UInt64(index), prompt: item.prompt,
          sampleIndices: Array(0..<samples), policy: policy, plan: plan, noise: NoiseKey(seed: seed),
          policyVersion: 0))
    }
    let ballot = rewards.ballot
    var all = known
    var open: [Int: [(query: RewardQuery, softness: Softness)]] = [:]
    var (finished, steps, seconds) = (known.count, 0, 0.0)
    while !engine.isIdle {
      let start = MonotonicClock.seconds()
      var whole: [Int] = []
      for sample in try engine.step() {
        let index = Int(sample.requestID)
        let item = items[index]
        var softness = Softness()
        softness.add(sample.trajectory, ends: ends)
        let query = RewardQuery(
          promptID: item.id, question: item.question, answer: item.answer, fields: item.fields,
          completion: completion(sample.trajectory), group: index, sampleIndex: sample.trajectory.sampleIndex)
        open[index, default: []].append((query, softness))
        finished += 1
        steps += query.completion.length
        if open[index]?.count == samples { whole.append(index) }
      }
      seconds += MonotonicClock.seconds() - start
      // Together, so that whoever judges them elsewhere can do so at once.
      let ended = whole.sorted().flatMap { index in
        (open.removeValue(forKey: index) ?? []).sorted { $0.query.sampleIndex < $1.query.sampleIndex }
      }
      if !ended.isEmpty {
        let judged = zip(ended, try rewards.correctness(ended.map(\.query))).map { one, isCorrect in
          EvaluationSample(
            one.query, softness: one.softness, answer: ballot?.answer(one.query), isCorrect: isCorrect)
        }
        for start in stride(from: 0, to: judged.count, by: samples) {
          try record(Array(judged[start..<start + samples]))
        }
        all += judged
      }
      if !progress(finished, items.count * samples) { throw SamplingError("the evaluation was stopped") }
    }
    var result = try Result(policy: name, prompts: items.count, samples: samples, k: k, of: all, ballot: ballot)
    if steps > 0 { result.tokensPerSecond = Double(steps) / max(1e-9, seconds) }
    return result
  }
}
