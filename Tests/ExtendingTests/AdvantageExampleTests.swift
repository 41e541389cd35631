import Parameters
import Testing

@testable import Credit

@Suite struct AdvantageExampleTests {
  private func make() throws -> any AdvantageEstimator {
    let registry = PartRegistry<any AdvantageEstimator>(
      "advantage",
      ([MovingBaseline.self] as [any AdvantageEstimator.Type]).map { type in
        .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
      })
    return try registry.make(registry.describe("moving_baseline", ["moving_baseline_decay": .number(0.5)]))
  }

  private func step(_ rewards: [Float]) -> CreditStep {
    CreditStep(trajectories: rewards.map { CreditTrajectory(groupID: 0, reward: $0) })
  }

  @Test func theBaselineFollowsTheRewards() throws {
    var estimator = try make()
    #expect(try estimator.advantages(step([1, 0])).map(\.advantages) == [[1], [0]])
    // b = 0.5 * 0 + 0.5 * 0.5
    #expect(try estimator.advantages(step([1, 0])).map(\.advantages) == [[0.75], [-0.25]])
    #expect(throws: CreditError.self) { try estimator.advantages(step([.nan])) }
  }

  @Test func aResumedRunGoesOnExactly() throws {
    var (first, second) = (try make(), try make())
    _ = try first.advantages(step([0.3, 0.9, 0.2]))
    try second.restore(state: #require(try first.encodedState()))
    #expect(try first.advantages(step([0.1])) == second.advantages(step([0.1])))
    #expect(throws: CreditError.self) { try second.restore(state: Array("[]".utf8)) }
    #expect(throws: CreditError.self) { try second.restore(state: Array("{}".utf8)) }
  }
}
