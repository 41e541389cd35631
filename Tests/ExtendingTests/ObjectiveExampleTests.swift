import Parameters
import Testing
import TestSupport

@testable import Objectives

@Suite struct ObjectiveExampleTests {
  private let registry = PartRegistry<any Objective>(
    "objective",
    ([SPO.self] as [any Objective.Type]).map { type in
      .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
    })

  private func loss(_ logProbs: [Double], _ old: [Float], _ advantage: Double, epsilon: Double) -> Double {
    zip(logProbs, old).reduce(0) { sum, pair in
      let ratio = doubleExponential(pair.0 - Double(pair.1))
      return sum + 0.25 * (-advantage * ratio + abs(advantage) / (2 * epsilon) * (ratio - 1) * (ratio - 1))
    }
  }

  @Test(arguments: [1.5, -0.5])
  func theCoefficientsAreTheLosssSlope(_ advantage: Double) throws {
    let objective = try registry.make(registry.describe("spo", ["spo_epsilon": .number(0.3)]))
    let (logProbs, old): ([Float], [Float]) = ([-1, -0.5, -2.25, 0.75], [-1, -1, -2, 0.5])
    let result = try objective.evaluate(
      [ObjectiveTrajectory(logProbs: logProbs, oldLogProbs: old, advantages: [Float(advantage)], weight: 0.25)],
      context: ObjectiveContext())
    let slopes = centralDifferences(of: { loss($0, old, advantage, epsilon: 0.3) }, at: doubles(logProbs))
    #expect(relativeDifference(result.coefficients[0], slopes) < 1e-6)
    #expect(abs(result.loss - loss(doubles(logProbs), old, advantage, epsilon: 0.3)) < 1e-6)
    // rho is 1, 1.65, 0.78, 1.28: one is further than 0.3 from 1.
    #expect(result.sums["actor/spo_beyond"] == 0.25)
  }

  @Test func theRegistryKnowsItsParameter() throws {
    #expect(try registry.describe("spo").values["spo_epsilon"] == .number(0.2))
    #expect(throws: ParameterError("spo_epsilon: must be a number above 0 and at most 10, got 0.0")) {
      try registry.describe("spo", ["spo_epsilon": .number(0)])
    }
    #expect(!objectives.names.contains("spo"), "the example's name is taken: choose another for docs/extending.md")
  }
}
