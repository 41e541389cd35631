import Kernels
import Testing
import Thinking
import Trajectories
import Transformer

@testable import Rollouts

/// How far records of other arithmetic are from what is drawn here, and how far those are that were drawn with other noise.
@Suite struct DrawDistanceTests {
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

  /// The same arithmetic draws the same: every step of one thought is looked at, and the distance is 0.
  @Test(arguments: Tiny.policies) func equalArithmeticIsNoDistance(_ policy: ThinkingPolicy) throws {
    let model = try Tiny.model(preferredComputeType, team: team)
    let replay = TrajectoryReplay(model, team: team)
    for (index, plan) in Self.plans.enumerated() {
      let request = Tiny.request(index, samples: 16, policy: policy, plan: plan)
      for trajectory in try Tiny.sample([request], model, slots: 8, team: team) {
        let distance = try #require(
          try replay.distance(of: trajectory, plan: plan, noise: request.noise) { _ in model })
        #expect(distance.tokenGap == 0 && distance.softGap < 1e-6)
        if index < 2 {
          let scored = trajectory.segments.filter(\.isScored).reduce(0) { $0 + $1.count }
          let seen = distance.tokens + distance.softSteps
          #expect(seen == scored || policy.vectorSteps != nil && seen == scored + 1)
        }
      }
    }
  }

  /// Other arithmetic is near; other noise, another sample's noise and forged tokens are not.
  @Test(arguments: Tiny.policies) func otherNoiseIsFarther(_ policy: ThinkingPolicy) throws {
    guard preferredComputeType == .bfloat16 else { return }
    let model = try Tiny.model(.bfloat16, team: team)
    let replay = TrajectoryReplay(model, team: team)
    let requests = (0..<8).map { Tiny.request($0, samples: 8, policy: policy, plan: Self.plans[0]) }
    func distances(_ trajectories: [Trajectory]) throws -> [DrawDistance] {
      try trajectories.compactMap { trajectory in
        try replay.distance(of: trajectory, plan: Self.plans[0], noise: requests[0].noise) { _ in model }
      }
    }
    func mean(_ distances: [DrawDistance]) -> Double {
      distances.reduce(0) { $0 + $1.tokenGap + $1.softGap } / Double(distances.count)
    }
    let fp32 = try distances(
      Tiny.sample(requests, try Tiny.model(rollouts: .float32, team: team), slots: 16, team: team))
    let otherSeed = requests.map { request in
      var request = request
      request.noise = NoiseKey(seed: 43)
      return request
    }
    let forged = try distances(Tiny.sample(otherSeed, model, slots: 16, team: team))
    #expect(fp32.count == 64 && forged.count == 64)
    func total(_ distances: [DrawDistance]) -> DrawDistance {
      distances.reduce(into: DrawDistance()) { $0.add($1) }
    }
    #expect(fp32.compactMap(\.problem) == [] && total(fp32).jointProblem == nil)
    #expect(total(forged).jointProblem != nil)
    // Drawn with other noise it is as far as another draw of the same rows.
    let sum = total(forged)
    #expect(abs(sum.tokenGap / sum.otherTokenGap - 1) < 0.25)
    #expect(forged.count { $0.problem != nil } > forged.count / 2)
    #expect(mean(forged) > 10 * mean(fp32))
  }

  @Test func aForgedAnswerIsFar() throws {
    let model = try Tiny.model(preferredComputeType, team: team)
    let replay = TrajectoryReplay(model, team: team)
    let request = Tiny.request(5, samples: 8, policy: ThinkingPolicies.tokens)
    for var trajectory in try Tiny.sample([request], model, slots: 8, team: team) {
      let last = trajectory.segments.count - 1
      guard case .discrete(var answer) = trajectory.segments[last] else { continue }
      answer.tokenIDs[0] = (answer.tokenIDs[0] + 1) % 80
      trajectory.segments[last] = .discrete(answer)
      let distance = try #require(
        try replay.distance(of: trajectory, plan: request.plan, noise: request.noise) { _ in model })
      #expect(distance.tokenGap > 0)
    }
  }

  @Test func weightsThatAreNotHereGiveNoDistance() throws {
    let model = try Tiny.model(preferredComputeType, team: team)
    let request = Tiny.request(1)
    let trajectory = try #require(Tiny.sample([request], model, slots: 4, team: team).first)
    let replay = TrajectoryReplay(model, team: team)
    #expect(try replay.distance(of: trajectory, plan: request.plan, noise: request.noise) { _ in nil } == nil)
  }
}
