import Parameters
import Testing

@testable import Credit

@Suite struct EstimatorTests {
  private func make(_ name: String, _ given: [String: ParameterValue] = [:]) throws -> any AdvantageEstimator {
    try advantageEstimators.make(advantageEstimators.describe(name, given))
  }

  static func step(_ groups: [[Float]], length: Int = 2) -> CreditStep {
    CreditStep(
      trajectories: groups.enumerated().flatMap { group, rewards in
        rewards.enumerated().map { index, reward in
          CreditTrajectory(
            groupID: group, promptID: "p\(group)", reward: reward, rewards: [reward, 0.5], length: length,
            tokenIDs: [Int32](repeating: Int32(index), count: length), entropy: [Float](repeating: 0.1, count: length),
            answer: "\(index % 2)", answerLogProbs: [-0.5, -Float(index)])
        }
      })
  }

  @Test(arguments: advantageEstimators.names) func everyTrajectoryHasItsCredit(_ name: String) throws {
    var estimator = try make(name)
    let step = Self.step([[1, 0, 0, 1], [0, 0, 1, 0]])
    let credits = try estimator.advantages(step)
    #expect(credits.count == 8)
    #expect(credits.contains { !$0.isZero })
    for credit in credits {
      #expect(credit.advantages.count == 1 || credit.advantages.count == 2)
      #expect(credit.advantages.allSatisfy(\.isFinite) && credit.stepWeights.map { $0.count == 2 } ?? true)
    }
  }

  /// Equal rewards are nothing to learn from, except where a method says so.
  @Test(arguments: advantageEstimators.names) func equalRewardsStayFinite(_ name: String) throws {
    for reward in [0, 1] as [Float] {
      var estimator = try make(name)
      let credits = try estimator.advantages(Self.step([[reward, reward, reward], [reward, reward, reward]]))
      #expect(credits.allSatisfy { $0.advantages.allSatisfy(\.isFinite) })
    }
  }

  @Test(arguments: advantageEstimators.names) func aRewardThatIsNotFiniteIsRefused(_ name: String) throws {
    var estimator = try make(name)
    #expect(throws: CreditError.self) { try estimator.advantages(Self.step([[1, .nan], [0, 1]])) }
  }

  @Test func maxRLDividesByTheMean() throws {
    var estimator = try make("max_rl")
    let credits = try estimator.advantages(Self.step([[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]))
    #expect(credits.map(\.advantages) == [[3], [-1], [-1], [-1]] + Array(repeating: [0], count: 8))
    #expect(throws: CreditError.self) { try estimator.advantages(Self.step([[-1, 1]])) }
  }

  @Test func pairsOfOneAreRefused() throws {
    for name in ["pass_at_k", "dcpo_sas"] {
      var estimator = try make(name)
      #expect(throws: CreditError.self) { try estimator.advantages(Self.step([[1]])) }
    }
  }

  @Test func whatAMethodNeedsIsAskedFor() throws {
    let bare = CreditStep(trajectories: [
      CreditTrajectory(groupID: 0, reward: 1), CreditTrajectory(groupID: 0, reward: 0),
    ])
    for name in ["gtpo", "multi_reward", "dcpo_sas", "value_tracker"] {
      var estimator = try make(name)
      #expect(throws: CreditError.self, "\(name)") { try estimator.advantages(bare) }
    }
  }

  @Test func rewardsKeepTheirWeights() throws {
    var estimator = try make(
      "multi_reward", ["multi_order": .text("sum_then_normalise"), "multi_scale": .text("none")])
    var step = CreditStep(
      trajectories: [
        CreditTrajectory(groupID: 0, reward: 0, rewards: [1, 0]),
        CreditTrajectory(groupID: 0, reward: 0, rewards: [0, 1]),
      ], rewardWeights: [1, 0.25])
    #expect(try estimator.advantages(step).map(\.advantages) == [[0.375], [-0.375]])
    step.rewardWeights = [1]
    #expect(throws: CreditError.self) { try estimator.advantages(step) }
  }

  @Test func positiveSamplesAloneAreKept() throws {
    var estimator = try make("psr_nsr", ["psr_mode": .text("positive")])
    #expect(try estimator.advantages(Self.step([[1, 0]])).map(\.isKept) == [true, false])
    #expect(throws: CreditError.self) { try estimator.advantages(Self.step([[0.5, 0]])) }
  }

  @Test func discountedReturnsEndWithTheReward() throws {
    var estimator = try make("reinforce_pp", ["return_gamma": .number(0.5)])
    let credits = try estimator.advantages(Self.step([[1, 0]], length: 3))
    let (good, bad) = (credits[0].advantages, credits[1].advantages)
    #expect(good.count == 3 && good[0] < good[1] && good[1] < good[2])
    #expect(Set(bad).count == 1)
  }

  @Test func overlongTrajectoriesAreLeftOut() throws {
    var step = Self.step([[1, 0, 0, 1]])
    step.trajectories[3].isTruncated = true
    var estimator = try make("dr_grpo")
    let credits = try estimator.advantagesExcludingOverlong(step)
    #expect(credits.map(\.isKept) == [true, true, true, false])
    #expect(abs(credits[0].advantages[0] - 2.0 / 3) < 1e-6 && credits[3].isZero)
  }

  @Test func conflictsAreCountedInRunsAlone() throws {
    let estimator = try #require(make("gtpo") as? GTPO)
    let own = try estimator.analyse(
      rewards: [1, 0], tokenIDs: [[1, 9, 3, 4, 5], [1, 2, 3, 5]], entropy: [[0, 0, 0, 0, 0], [0, 0, 0, 0]])
    // 1 leads both, 5 ends both; 3 is shared inside.
    #expect(own[0].conflictWeights == [2, 1, 1, 1, 2] && own[1].conflictWeights == [0, 1, 1, 0])
  }
}

@Suite struct StatefulEstimatorTests {
  @Test(arguments: ["dcpo_sas", "value_tracker"]) func aRestoredEstimatorGoesOnWithTheSameBits(_ name: String) throws {
    func make() throws -> any AdvantageEstimator { try advantageEstimators.make(advantageEstimators.describe(name)) }
    let steps = [[[1, 0, 0], [0, 0, 1]], [[1, 1, 1], [0, 1, 1]], [[0, 0, 1], [0, 0, 0]]].map {
      EstimatorTests.step($0)
    }
    var whole = try make()
    for step in steps.dropLast() { _ = try whole.advantages(step) }
    let state = try #require(try whole.encodedState())
    var resumed = try make()
    try resumed.restore(state: state)
    #expect(try resumed.encodedState() == state)
    #expect(try resumed.advantages(steps[2]) == whole.advantages(steps[2]))
    var fresh = try make()
    #expect(try fresh.advantages(steps[2]) != resumed.advantages(steps[2]))
    for bad in ["", "[]", #"{"p": 1}"#, #"{"p": [1]}"#, #"{"p": [1, 2, 3, 4]}"#, #"{"p": ["a", 1, 2]}"#] {
      #expect(throws: CreditError.self, "\(bad)") { try resumed.restore(state: Array(bad.utf8)) }
    }
  }

  @Test func anEstimatorWithoutStateRefusesOne() throws {
    var estimator = try advantageEstimators.make(advantageEstimators.describe("opo"))
    #expect(try estimator.encodedState() == nil)
    #expect(throws: CreditError.self) { try estimator.restore(state: [1]) }
  }

  @Test func theTrackerLearnsFromEverySampleOfAPrompt() throws {
    var tracker = try #require(
      advantageEstimators.make(advantageEstimators.describe("value_tracker")) as? ValueTracker)
    let step = CreditStep(trajectories: [
      CreditTrajectory(groupID: 0, promptID: "a", reward: 1), CreditTrajectory(groupID: 1, promptID: "a", reward: 0.5),
      CreditTrajectory(groupID: 2, promptID: "b", reward: 0),
    ])
    let advantages = try tracker.advantages(step, drifts: ["a": 10])
    #expect(abs(advantages.reduce(0, +)) < 1e-9)
    // Forgotten once, at rho_min after a large drift.
    #expect(tracker.belief("a") == .init(alpha: 0.875 * 0.5 + 1.5, beta: 0.875 * 0.5 + 0.5))
    #expect(tracker.belief("b") == .init(alpha: 0.96 * 0.5, beta: 0.96 * 0.5 + 1))
    #expect(tracker.samplerWeight("new") == 0.55)
  }

  @Test func theTrackerRefusesRewardsOutsideItsRange() throws {
    var tracker = try advantageEstimators.make(advantageEstimators.describe("value_tracker"))
    let before = try tracker.encodedState()
    #expect(throws: CreditError.self) { try tracker.advantages(EstimatorTests.step([[1, 1.5]])) }
    #expect(throws: CreditError.self) { try tracker.advantages(EstimatorTests.step([[-0.5, 0]])) }
    #expect(try tracker.encodedState() == before)
    #expect(throws: ParameterError.self) {
      try advantageEstimators.make(advantageEstimators.describe("value_tracker", ["tracker_rho_min": .number(0.99)]))
    }
  }
}
