import Parameters
import Testing

@testable import Objectives

/// What the vectors do not say of single objectives.
@Suite struct ObjectiveFormsTests {
  private func make(_ name: String, _ given: [String: ParameterValue] = [:]) throws -> any Objective {
    try objectives.make(objectives.describe(name, given))
  }

  @Test func cispoWeighsTheLogProbWithAConstant() throws {
    let objective = try #require(make("cispo", ["clip_high": .number(0.28)]) as? CISPO)
    for (logProb, old, weight) in [(-1, -1, 1), (0, -3, 1.28), (-3, 0, 0.8)] as [(Float, Float, Float)] {
      let term = objective.term(ObjectiveStep(logProb: logProb, oldLogProb: old, advantage: 2))
      #expect(abs(term.gradient + 2 * weight) < 1e-6 && abs(term.loss - term.gradient * logProb) < 1e-6)
      #expect(term.measured[0] == (weight == 1 ? 0 : 1))
    }
  }

  @Test func cispoWithACapIsReinforceWithATruncatedWeight() throws {
    let objective = try #require(make("cispo", ["cispo_cap": .number(2)]) as? CISPO)
    #expect(objective.term(ObjectiveStep(logProb: -9, oldLogProb: 0, advantage: 1)).gradient > -0.001)
    #expect(objective.term(ObjectiveStep(logProb: 0, oldLogProb: -9, advantage: 1)).gradient == -2)
  }

  /// In a step's first mini-batch every ratio is 1, and the regression would divide by 0.
  @Test(arguments: ["sum", "mean"]) func regressionAtRatioOneIsAPolicyGradient(_ form: String) throws {
    let objective = try make("reg_grpo", ["reg_log_ratio": .text(form)])
    let advantages: [Float] = [1, -0.5, -0.5]
    let group = advantages.map {
      ObjectiveTrajectory(logProbs: [-1, -2], oldLogProbs: [-1, -2], advantages: [$0], weight: 1.0 / 6)
    }
    let result = try objective.evaluate(group, context: ObjectiveContext())
    for (coefficients, advantage) in zip(result.coefficients, advantages) {
      // -2 A / N a trajectory; the mean of a slot's log-ratios is half as steep in each of two.
      let expected = -2 * advantage / 3 * (form == "mean" ? 0.5 : 1)
      #expect(coefficients.allSatisfy { abs($0 - expected) < 1e-6 })
    }
  }

  @Test func regressionOfAGroupOfOneIsFinite() throws {
    let group = [ObjectiveTrajectory(logProbs: [-1], oldLogProbs: [-1.5], advantages: [1], weight: 1)]
    let result = try make("reg_grpo").evaluate(group, context: ObjectiveContext())
    #expect(result.coefficients == [[-1]] && result.loss == 0.25)
  }

  @Test func clipCovChoosesByTheSeedAlone() throws {
    let objective = try make(
      "clip_cov",
      ["clip_cov_ratio": .number(0.2), "clip_cov_lb": .number(-100), "clip_cov_ub": .number(100)])
    let trajectories = CoefficientTests.trajectories(seed: 8, spread: 50).map { trajectory in
      var own = trajectory
      own.factors = nil
      own.advantages = [1]
      return own
    }
    func dropped(_ seed: UInt64) throws -> [Bool] {
      try objective.evaluate(trajectories, context: ObjectiveContext(seed: seed)).coefficients.joined().map { $0 == 0 }
    }
    // floor(0.2 * 27) of 27 slots.
    #expect(try dropped(1).count { $0 } == 5)
    #expect(try dropped(1) == dropped(1))
    #expect(try dropped(1) != dropped(2))
  }

  @Test func clipCovDropsOneAtLeast() throws {
    let objective = try make("clip_cov", ["clip_cov_lb": .number(-100), "clip_cov_ub": .number(100)])
    let trajectory = ObjectiveTrajectory(
      logProbs: [-1, -2, -3], oldLogProbs: [-1, -2, -3], advantages: [1], weight: 1)
    let result = try objective.evaluate([trajectory], context: ObjectiveContext())
    #expect(result.coefficients[0].count { $0 == 0 } == 1)
  }

  @Test func clipCovBoundsMustBeInOrder() {
    #expect(throws: ParameterError.self) { try make("clip_cov", ["clip_cov_lb": .number(6)]) }
  }

  @Test func spansOfOneStepAreTheClippedObjective() throws {
    let trajectories = CoefficientTests.trajectories(seed: 9, spread: 700)
    let spans = try make("span_ratio", ["span_length": .integer(1)])
    let clipped = try make("clipped", ["dual_clip": .null])
    let (left, right) = (
      try spans.evaluate(trajectories, context: ObjectiveContext()),
      try clipped.evaluate(trajectories, context: ObjectiveContext())
    )
    #expect(abs(left.loss - right.loss) < 1e-6)
    for (a, b) in zip(left.coefficients.joined(), right.coefficients.joined()) { #expect(abs(a - b) < 1e-6) }
  }

  /// The token form has the gradient of one ratio for the whole trajectory, where its slots have one advantage and one weight.
  @Test func theTokenFormIsOneSpanWhenAdvantagesAreEqual() throws {
    let ranges: [String: ParameterValue] = ["clip_low": .number(0.2), "clip_high": .number(0.2)]
    let token = try make("gspo_token", ranges)
    let span = try make("span_ratio", ranges.merging(["span_length": .integer(1000)]) { $1 })
    let trajectories = CoefficientTests.trajectories(seed: 10, spread: 400).map { trajectory in
      var own = trajectory
      own.factors = nil
      return own
    }
    let (left, right) = (
      try token.evaluate(trajectories, context: ObjectiveContext()),
      try span.evaluate(trajectories, context: ObjectiveContext())
    )
    #expect(abs(left.loss - right.loss) < 1e-6)
    for (a, b) in zip(left.coefficients.joined(), right.coefficients.joined()) { #expect(abs(a - b) < 1e-6) }
    // A factor, or an advantage, stays with its own slot.
    var weighted = trajectories
    weighted[0].factors = [2, 1, 1, 1, 1]
    let result = try token.evaluate(weighted, context: ObjectiveContext())
    #expect(abs(result.coefficients[0][0] - 2 * left.coefficients[0][0]) < 1e-6)
    #expect(result.coefficients[0][1] == left.coefficients[0][1])
  }

  @Test func sspoWithoutEntropyIsRefused() throws {
    let trajectory = ObjectiveTrajectory(logProbs: [-1], oldLogProbs: [-1], advantages: [1], weight: 1)
    for objective in [try make("sspo"), try make("dhpo", ["dhpo_mix": .text("entropy")])] {
      #expect(throws: ObjectiveError.self) { try objective.evaluate([trajectory], context: ObjectiveContext()) }
    }
  }

  @Test func theProbabilityMaskKeepsTheLossAMean() throws {
    let objective = try make("probability_mask", ["probability_maximum": .number(0.5)])
    var trajectory = ObjectiveTrajectory(
      logProbs: [-1, -1, -1, -1], oldLogProbs: [-1, -1, -1, -1], advantages: [2], weight: 0.25)
    trajectory.streams[.probability] = [0.9, 0.1, 0.6, 0.2]
    let result = try objective.evaluate([trajectory], context: ObjectiveContext())
    #expect(result.coefficients == [[0, -1, 0, -1]] && result.loss == -2)
    #expect(result.sums["actor/masked_fraction"] == 0.5)
    trajectory.streams[.probability] = [0.9, 0.9, 0.9, 0.9]
    let none = try objective.evaluate([trajectory], context: ObjectiveContext())
    #expect(none.coefficients == [[0, 0, 0, 0]] && none.loss == 0)
  }

  @Test func geometricMeanIgnoresNoSlotOfTheDenominator() throws {
    // One slot clamped at 0.4, one free: exp((0.4 + 0.1) / 2).
    let trajectory = ObjectiveTrajectory(logProbs: [0, -1], oldLogProbs: [-2, -1.1], advantages: [1], weight: 0.5)
    let result = try make("gmpo").evaluate([trajectory], context: ObjectiveContext())
    #expect(abs(result.loss + 1.2840254) < 1e-6)
    #expect(result.coefficients[0][0] == 0 && abs(result.coefficients[0][1] + 0.6420127) < 1e-6)
  }
}
