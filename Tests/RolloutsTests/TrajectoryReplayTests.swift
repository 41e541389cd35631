import Kernels
import Testing
import Thinking
import Trajectories
import Transformer

@testable import Rollouts

/// Honest records are what comes out again, to the last bit; others are not.
@Suite struct TrajectoryReplayTests {
  private let team = ThreadTeam(threadCount: 2)

  private static let plans = [
    CompletionPlan(thinking: 12, endOfThinkingTokens: [7], answerPrefix: [3, 4], maxAnswerTokens: 6, stopTokens: [9]),
    CompletionPlan(thinking: 0, endOfThinkingTokens: [7], maxAnswerTokens: 3),
    CompletionPlan([
      .force([5, 6]), .think(budget: 4, ends: [], forcedEnd: [7]), .answer(DiscreteSampling(), budget: 3, stops: []),
      .force([8]), .think(budget: 3, ends: [2, 4], forcedEnd: [1, 2]),
      .answer(DiscreteSampling(temperature: 0.7, topK: 5), budget: 70, stops: [9]),
    ]),
  ]

  private func check(
    _ trajectory: Trajectory, _ request: SamplingRequest, _ replay: TrajectoryReplay,
    model: (Int) -> PreparedModel?
  ) throws -> TrajectoryReplay.Difference? {
    try replay.compare(trajectory, plan: request.plan, noise: request.noise, model: model)
  }

  /// No false alarm: every policy and plan, prompts across pages and passes, many samples.
  @Test(arguments: Tiny.policies) func honestRecordsComeOutAgain(_ policy: ThinkingPolicy) throws {
    guard preferredComputeType == .bfloat16 else { return }
    let model = try Tiny.model(.bfloat16, team: team)
    let replay = TrajectoryReplay(model, team: team)
    var count = 0
    for (index, plan) in Self.plans.enumerated() {
      let requests = (0..<8).map {
        Tiny.request(
          100 * index + $0, promptLength: [1, 20, 64, 65, 100][$0 % 5], samples: 16, policy: policy, plan: plan)
      }
      let byGroup = Dictionary(uniqueKeysWithValues: requests.map { (Int($0.groupOrdinal), $0) })
      for trajectory in try Tiny.sample(requests, model, slots: 32, team: team) {
        let difference = try check(trajectory, byGroup[trajectory.groupID]!, replay) { _ in model }
        #expect(difference == nil, "\(difference.map { "\($0)" } ?? "")")
        count += 1
      }
    }
    #expect(count == 3 * 8 * 16)
  }

  /// Samples that went on under newer weights, with a swap while forced tokens wait to be fed.
  @Test(arguments: Tiny.policies) func partialRolloutsComeOutAgain(_ policy: ThinkingPolicy) throws {
    // Of vectors that several versions drew, the record does not say which one drew the end.
    guard preferredComputeType == .bfloat16, policy.vectorSteps == nil else { return }
    let models = [
      3: try Tiny.model(.bfloat16, team: team), 4: try Tiny.model(.bfloat16, team: team, scale: 7),
      5: try Tiny.model(.bfloat16, team: team, scale: 6),
    ]
    let replay = TrajectoryReplay(models[3]!, team: team)
    var several = 0
    for (index, plan) in Self.plans.enumerated() {
      for swap in 1..<8 {
        let request = Tiny.request(10 * index + swap, samples: 9, policy: policy, plan: plan)
        let engine = try SamplingEngine(model: models[3]!, slots: 4, maximumPositions: 200, team: team)
        try engine.submit(request)
        var step = 0
        while !engine.isIdle {
          if step == swap { try engine.replaceModel(models[4]!, continuingAs: 4) }
          if step == 2 * swap + 1 { try engine.replaceModel(models[5]!, continuingAs: 5) }
          for trajectory in try engine.step().map(\.trajectory) {
            if !trajectory.versionSpans.isEmpty { several += 1 }
            let difference = try check(trajectory, request, replay) { models[$0] }
            #expect(difference == nil, "\(trajectory.versionSpans) \(difference.map { "\($0)" } ?? "")")
          }
          step += 1
        }
      }
    }
    #expect(several > 20)
  }

  private static func changed(_ trajectory: Trajectory, _ change: (inout [Segment]) -> Void) -> Trajectory {
    var trajectory = trajectory
    change(&trajectory.segments)
    return trajectory
  }

  /// Every way to cheat that the issue names, of every trajectory.
  @Test(arguments: Tiny.policies) func everyChangeIsFound(_ policy: ThinkingPolicy) throws {
    guard preferredComputeType == .bfloat16 else { return }
    let model = try Tiny.model(.bfloat16, team: team)
    let replay = TrajectoryReplay(model, team: team)
    let request = Tiny.request(5, samples: 8, policy: policy)
    var other = request
    other.noise = NoiseKey(seed: 43)
    var foreignSample = request
    foreignSample.sampleIndices = Array(8..<16)
    let honest = try Tiny.sample([request], model, slots: 8, team: team)
    func expectFound(_ trajectory: Trajectory, _ what: String) throws {
      #expect(try check(trajectory, request, replay) { _ in model } != nil, "\(what)")
    }
    for trajectory in try Tiny.sample([other], model, slots: 8, team: team) {
      try expectFound(trajectory, "another seed")
    }
    for var trajectory in try Tiny.sample([foreignSample], model, slots: 8, team: team) {
      trajectory.sampleIndex -= 8
      try expectFound(trajectory, "another sample's noise")
    }
    for trajectory in honest {
      // The last segment is the answer.
      let last = trajectory.segments.count - 1
      guard case .discrete(let answer) = trajectory.segments[last] else { continue }
      try expectFound(
        Self.changed(trajectory) {
          var answer = answer
          answer.tokenIDs[0] = (answer.tokenIDs[0] + 1) % 80
          $0[last] = .discrete(answer)
        }, "a forged answer")
      for index in answer.logProbs.indices {
        for change in [Float(bitPattern: answer.logProbs[index].bitPattern ^ 1), answer.logProbs[index] + 1e-3] {
          try expectFound(
            Self.changed(trajectory) {
              var answer = answer
              answer.logProbs[index] = change
              $0[last] = .discrete(answer)
            }, "a log-prob")
        }
      }
      try expectFound(
        Self.changed(trajectory) {
          var answer = answer
          answer.tokenIDs.removeLast()
          answer.logProbs.removeLast()
          if answer.tokenIDs.isEmpty { $0.removeLast() } else { $0[last] = .discrete(answer) }
        }, "an answer cut short")
      var reason = trajectory
      reason.finishReason = trajectory.finishReason == .stop ? .length : .stop
      try expectFound(reason, "finish_reason")
      try expectFound(
        Self.changed(trajectory) { segments in
          if let index = segments.firstIndex(where: { if case .forced = $0 { true } else { false } }) {
            segments[index] = .forced([3, 5])
          }
        }, "other forced tokens")
      guard case .soft(let soft)? = trajectory.segments.first else { continue }
      for step in 0..<soft.count {
        try expectFound(
          Self.changed(trajectory) {
            var values = RaggedRows<Float>()
            for row in 0..<soft.count {
              var row = Array(soft.values[row])
              if values.count == step { row[0] = Float(bitPattern: row[0].bitPattern &+ 1) }
              values.append(row)
            }
            var soft = soft
            soft.values = values
            $0[0] = .soft(soft)
          }, "a value of step \(step), one unit in the last place")
      }
    }
  }

  @Test func weightsThatAreNotHereGiveNoVerdict() throws {
    let model = try Tiny.model(preferredComputeType, team: team)
    let request = Tiny.request(1)
    let trajectory = try #require(Tiny.sample([request], model, slots: 4, team: team).first)
    #expect(try check(trajectory, request, TrajectoryReplay(model, team: team)) { _ in nil } == nil)
  }
}
