import Kernels
import Testing
import Thinking
import Trajectories
import Transformer

@testable import Rollouts

@Suite struct SamplingEngineTests {
  /// bf16: bit for bit. The product's claim is that a trajectory is a function of its request and the weights alone.
  @Test(arguments: Tiny.policies)
  func batchAndThreadsLeaveNoTrace(_ policy: ThinkingPolicy) throws {
    guard preferredComputeType == .bfloat16 else { return }
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(.bfloat16, team: team)
    let requests = (0..<5).map { Tiny.request($0, promptLength: 10 + 29 * $0, policy: policy) }
    let expected = try Tiny.sample(requests, model, slots: 1, team: team)
    #expect(expected.count == 20)
    for (slots, threads) in [(3, 1), (16, 2), (64, 3)] {
      let team = ThreadTeam(threadCount: threads)
      #expect(try Tiny.sample(requests, model, slots: slots, team: team) == expected)
      #expect(try Tiny.sample(requests.reversed(), model, slots: slots, team: team) == expected)
    }
  }

  @Test(arguments: ComputeType.allCases)
  func theTrajectoryFollowsTheOptions(_ type: ComputeType) throws {
    if type == .bfloat16, preferredComputeType != .bfloat16 { return }
    let team = ThreadTeam(threadCount: 2)
    let model = try Tiny.model(type, team: team)
    for policy in Tiny.policies {
      let trajectories = try Tiny.sample((0..<6).map { Tiny.request($0, policy: policy) }, model, slots: 8, team: team)
      var ended = 0
      for trajectory in trajectories {
        try trajectory.validate(vocabularySize: 80, contextLength: 256, hiddenSize: 64)
        #expect(trajectory.policyVersion == 3)
        guard case .discrete(let answer)? = trajectory.segments.last else {
          Issue.record("no answer")
          continue
        }
        #expect(answer.tokenIDs.count <= 6 && !answer.tokenIDs.dropLast().contains(9))
        #expect((answer.tokenIDs.last == 9) == (trajectory.finishReason == .stop))
        let forced = trajectory.segments.compactMap { segment -> [Int32]? in
          if case .forced(let ids) = segment { return ids }
          return nil
        }
        // Thinking that ended by itself has its end token as a scored, discrete step; otherwise it is forced. That of vectors is
        // never scored.
        let thinking = trajectory.segments.dropLast(2)
        if case .discrete(let end)? = thinking.last, end.tokenIDs.last == 7 {
          ended += 1
          #expect(forced == [[3, 4]] && end.logProbs.count == end.tokenIDs.count)
        } else {
          #expect(forced == [[7, 3, 4]])
          let count = thinking.reduce(0) { $0 + $1.count }
          #expect(policy.vectorSteps == nil ? count == 12 : count <= 12)
          if count < 12 { ended += 1 }
        }
      }
      #expect(ended < trajectories.count, "some thinking must run out of budget for this test to mean anything")
    }
  }

  /// After so many soft steps the thinking goes on in tokens, scored as those of the discrete policy; both count in the budget.
  @Test func softStepsThenTokens() throws {
    let team = ThreadTeam(threadCount: 2)
    let model = try Tiny.model(preferredComputeType, team: team)
    let policy = try ThinkingPolicy("gumbel", ["soft_until": .integer(5)])
    var mixed = 0
    for trajectory in try Tiny.sample((0..<4).map { Tiny.request($0, policy: policy) }, model, slots: 8, team: team) {
      let thinking = trajectory.segments.prefix { if case .forced = $0 { false } else { true } }
      guard case .soft(let soft)? = thinking.first, case .discrete(let tokens)? = thinking.dropFirst().first else {
        continue
      }
      #expect(soft.count <= 5 && soft.count + tokens.tokenIDs.count <= 12)
      if tokens.tokenIDs.count > 1 {
        #expect(soft.count == 5 && tokens.logProbs.count == tokens.tokenIDs.count)
        #expect(!tokens.tokenIDs.dropLast().contains(7))
        mixed += 1
      }
    }
    #expect(mixed > 3)
  }

  /// Each recorded step's values are what the noise key allows.
  @Test(arguments: Tiny.policies.filter { $0.softSteps != nil })
  func recordsPassTheAudit(_ policy: ThinkingPolicy) throws {
    let team = ThreadTeam(threadCount: 2)
    let model = try Tiny.model(preferredComputeType, team: team)
    let request = Tiny.request(4, policy: policy)
    var steps = 0
    for trajectory in try Tiny.sample([request], model, slots: 4, team: team) {
      guard case .soft(let soft)? = trajectory.segments.first else { continue }
      for step in 0..<soft.count {
        let noise = request.noise.step(group: 4, sample: UInt32(trajectory.sampleIndex), step: UInt32(step))
        let residual = soft.withRecord(step) { policy.softSteps?.auditResidual($0, noise: noise) }
        #expect(try abs(#require(residual)) < 1e-4)
        steps += 1
      }
    }
    #expect(steps > 5)
  }

  @Test func aPromptIsComputedOnce() throws {
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(preferredComputeType, team: team)
    let engine = try SamplingEngine(model: model, slots: 2, maximumPositions: 200, team: team)
    try engine.submit(Tiny.request(1, promptLength: 70, samples: 9))
    var finished = 0
    while !engine.isIdle { finished += try engine.step().count }
    #expect(finished == 9)
    #expect(engine.statistics.prefilledTokens == 70)
  }

  @Test func cancelledRequestsAreForgotten() throws {
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(preferredComputeType, team: team)
    let engine = try SamplingEngine(model: model, slots: 3, maximumPositions: 200, team: team)
    try engine.submit(Tiny.request(1, samples: 8))
    try engine.submit(Tiny.request(2, samples: 2))
    _ = try engine.step()
    engine.cancel(1)
    #expect(throws: SamplingError.self) { try engine.replaceModel(model) }
    var ids: [UInt64] = []
    while !engine.isIdle { ids += try engine.step().map(\.requestID) }
    #expect(ids == [2, 2])
    try engine.replaceModel(model)
  }

  @Test func impossibleRequestsAreRefused() throws {
    let team = ThreadTeam(threadCount: 1)
    let model = try Tiny.model(.float32, team: team)
    let engine = try SamplingEngine(model: model, slots: 1, maximumPositions: 64, team: team)
    #expect { try engine.submit(Tiny.request(1, promptLength: 60)) } throws: {
      "\($0)".contains("p1") && "\($0)".contains("64 positions")
    }
    var request = Tiny.request(2)
    request.prompt[3] = 80
    #expect { try engine.submit(request) } throws: { "\($0)".contains("80") }
    #expect(engine.isIdle)
  }

  @Test func unusableWeightsAreReported() throws {
    let team = ThreadTeam(threadCount: 1)
    let layout = ParameterLayout(Tiny.configuration)
    let weights = ModelWeights(layout: layout)
    for index in 0..<layout.count { weights.elements[index] = BFloat16(Float.nan) }
    let model = PreparedModel(
      weights, backend: try matrixBackend(for: .float32), trainable: false, positions: 64, team: team)
    let engine = try SamplingEngine(model: model, slots: 2, maximumPositions: 64, team: team)
    try engine.submit(Tiny.request(1, samples: 1))
    #expect { _ = try engine.step() } throws: { "\($0)".contains("p1") && "\($0)".contains("NaN") }
    #expect(engine.isIdle)
  }
}
