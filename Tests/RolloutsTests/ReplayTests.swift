import Kernels
import ModelFiles
import Testing
import Thinking
import Training
import Trajectories
import Transformer

@testable import Rollouts

/// Steps of one trajectory, fed again in another. A thought of two kinds of steps is two segments, which these tests do not count.
@Suite struct ReplayTests {
  private let team = ThreadTeam(threadCount: 2)

  /// The first sample of a request.
  private func sample(
    _ policy: ThinkingPolicy, _ plan: CompletionPlan, _ model: PreparedModel, slots: Int = 3
  ) throws -> Trajectory {
    let requests = (0..<2).map { Tiny.request($0, samples: 2, policy: policy, plan: plan) }
    return try #require(try Tiny.sample(requests, model, slots: slots, team: team).first)
  }

  /// The whole thought replayed, then the same text forced: the answer is the parent's, to the last bit, for the noise counts
  /// positions and the mixtures are those that were fed.
  @Test(arguments: Tiny.policies.filter { $0.isTrainable && $0.part.continuation == nil })
  func theAnswerToAReplayedThoughtIsItsOwn(_ policy: ThinkingPolicy) throws {
    let model = try Tiny.model(.float32, team: team)
    let plan = CompletionPlan([
      .think(budget: 12, ends: [], forcedEnd: [7]), .force([3, 4]),
      .answer(DiscreteSampling(), budget: 6, stops: [9]),
    ])
    let parent = try sample(policy, plan, model)
    let replay = CompletionPlan(
      parent.prefix(12).map { .replay($0) } + [.force([7, 3, 4]), .answer(DiscreteSampling(), budget: 6, stops: [9])])
    #expect(replay.longestCompletion == plan.longestCompletion)
    let child = try sample(policy, replay, model)
    #expect(child.segments.count == 3 && child.segments[0].count == 12 && !child.segments[0].isScored)
    #expect(child.segments[1] == .forced([7, 3, 4]))
    #expect(child.segments[1...] == parent.segments[1...])
    #expect(child.finishReason == parent.finishReason)
    // It reads back from a file as it was.
    #expect(try Trajectory(jsonLine: child.jsonLine()) == child)
    try child.validate(vocabularySize: 80, contextLength: 256, hiddenSize: 64)
  }

  /// A cut thought with other words after it: only the answer is scored, and the learner's pass gives the worker's bits.
  @Test(arguments: Tiny.policies.filter { $0.isTrainable && $0.part.continuation == nil })
  func aReplayedStepIsFedAndNotScored(_ policy: ThinkingPolicy) throws {
    let model = try Tiny.model(preferredComputeType, team: team)
    let parent = try sample(policy, Tiny.request(0).plan, model)
    let length = parent.segments.prefix { if case .forced = $0 { false } else { true } }.reduce(0) { $0 + $1.count }
    try #require(length > 1)
    let cut = (length + 1) / 2
    let plan = CompletionPlan(
      parent.prefix(cut).map { .replay($0) } + [
        .force([11, 12, 7]), .force([3]), .answer(DiscreteSampling(temperature: 0.8), budget: 6, stops: [9]),
      ])
    for slots in [1, 4] {
      let child = try sample(policy, plan, model, slots: slots)
      #expect(
        child.segments.count == 3 && child.segments[0].count == cut && child.segments[1] == .forced([11, 12, 7, 3]))
      #expect(child.scoredCount == child.segments[2].count && child.recordedLogProbs?.count == child.scoredCount)
      let scores = try scoreTrajectories([child, parent], model: model, tokenBudget: 1000, team: team)
      let scored = scores[0].flatMap { $0 }
      if preferredComputeType == .bfloat16 {
        #expect(scored.map(\.bitPattern) == child.recordedLogProbs?.map(\.bitPattern))
      } else {
        #expect(scored.count == child.scoredCount)
      }
    }
  }

  /// A plan of two rounds of thinking, and runs of forced text longer than a pass's rows.
  @Test func roundsAndLongRuns() throws {
    let configuration = ModelConfiguration(
      architecture: .llama, hiddenSize: 32, layerCount: 1, headCount: 2, keyValueHeadCount: 1, headDimension: 16,
      intermediateSize: 48, vocabularySize: 80, contextLength: 1024, ropeTheta: 1000, rmsNormEpsilon: 1e-5)
    let layout = ParameterLayout(configuration)
    let weights = ModelWeights(layout: layout)
    for (index, value) in randomWeights(layout: layout, seed: 6).enumerated() {
      weights.elements[index] = BFloat16(value == 1 ? 1 : value * 8)
    }
    let model = PreparedModel(
      weights, backend: try rolloutBackend(for: .float32), trainable: false, positions: 1024, team: team)
    let long = (0..<700).map { Int32($0 * 7 % 80) }
    let plan = CompletionPlan([
      .think(budget: 3, ends: [], forcedEnd: []), .answer(DiscreteSampling(), budget: 2, stops: []), .force(long),
      .think(budget: 4, ends: [], forcedEnd: [7]), .answer(DiscreteSampling(), budget: 5, stops: []),
    ])
    let request = Tiny.request(0, samples: 3, plan: plan)
    let engine = try SamplingEngine(model: model, slots: 2, maximumPositions: 20 + plan.longestCompletion, team: team)
    try engine.submit(request)
    var samples: [Trajectory] = []
    while !engine.isIdle { samples += try engine.step().map(\.trajectory) }
    #expect(samples.count == 3)
    for sample in samples {
      #expect(sample.segments.map(\.count) == [3, 2, 700, 4, 1, 5])
      let scores = try scoreTrajectories([sample], model: model, tokenBudget: 2000, team: team)[0].flatMap { $0 }
      let recorded = try #require(sample.recordedLogProbs)
      #expect(scores.count == 14 && zip(scores, recorded).allSatisfy { abs($0 - $1) < 1e-3 })
    }
    // What cannot be sampled is refused.
    for bad in [
      CompletionPlan([.think(budget: 3, ends: [], forcedEnd: [])]), CompletionPlan([]),
      CompletionPlan([.force([]), .answer(DiscreteSampling(), budget: 1, stops: [])]),
      CompletionPlan([.force([80]), .answer(DiscreteSampling(), budget: 1, stops: [])]),
      CompletionPlan([.replay(.tokens([])), .answer(DiscreteSampling(), budget: 1, stops: [])]),
      CompletionPlan([.answer(DiscreteSampling(), budget: 0, stops: [])]),
    ] {
      #expect(throws: SamplingError.self) { try engine.submit(Tiny.request(1, plan: bad)) }
    }
  }
}
