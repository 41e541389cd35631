import Parameters
import Testing

@testable import Credit

@Suite struct GroupRelativeTests {
  private static let names = ["grpo", "dr_grpo", "rloo"]

  private func advantages(_ name: String, _ rewards: [Float], _ groups: [Int]) throws -> [Float] {
    var estimator = try advantageEstimators.make(advantageEstimators.describe(name))
    let step = CreditStep(
      trajectories: zip(rewards, groups).map { CreditTrajectory(groupID: $1, reward: $0) })
    return try estimator.advantages(step).map { $0.advantages[0] }
  }

  /// Naive twin: two-pass statistics of one group in plain formulas.
  private func naive(_ rewards: [Float], _ name: String) -> [Double] {
    let r = rewards.map(Double.init)
    let n = Double(r.count)
    let mean = r.reduce(0, +) / n
    let std = (r.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / (n - 1)).squareRoot()
    return r.indices.map { i in
      switch name {
      case "grpo": (r[i] - mean) / (std + 1e-6)
      case "dr_grpo": r[i] - mean
      default: r[i] - (r.reduce(0, +) - r[i]) / (n - 1)
      }
    }
  }

  @Test func recordedFromTorch() throws {
    let first = try advantages("grpo", [1, 0, 0, 1, 1, 0, 1, 1], [Int](repeating: 7, count: 8))
    let expected: [Float] = [
      0.724567413, -1.2076124, -1.2076124, 0.724567413, 0.724567413, -1.2076124, 0.724567413, 0.724567413,
    ]
    for (a, b) in zip(first, expected) { #expect(abs(a - b) < 1e-6) }
    let second = try advantages("grpo", [0.5, 0.25, -1, 2], [1, 1, 1, 1])
    for (a, b) in zip(second, [0.050767269, -0.152301803, -1.16764712, 1.26918173] as [Float]) {
      #expect(abs(a - b) < 1e-6)
    }
  }

  @Test(arguments: names) func interleavedGroupsMatchTheNaiveTwin(_ name: String) throws {
    let rewards: [Float] = [1, 0.5, 0, 0.25, 1, -1, 2]
    let groups = [3, 9, 3, 9, 3, 9, 3]
    let actual = try advantages(name, rewards, groups)
    for group in [3, 9] {
      let indices = groups.indices.filter { groups[$0] == group }
      for (index, expected) in zip(indices, naive(indices.map { rewards[$0] }, name)) {
        #expect(abs(Double(actual[index]) - expected) < 1e-6)
      }
    }
  }

  @Test(arguments: names) func equalRewardsGiveExactlyZeroAndSingletonsTheReward(_ name: String) throws {
    #expect(try advantages(name, [0.1, 0.1, 0.1, 0.7], [0, 0, 0, 1]) == [0, 0, 0, 0.7])
  }

  @Test func rewardsThatAreNotFiniteAreRefused() {
    let error = #expect(throws: CreditError.self) { try advantages("rloo", [1, .nan], [0, 4]) }
    #expect(error?.message.contains("trajectory 1 (group 4)") == true)
  }

  /// A checkpoint of an estimator that remembers something is not taken up by one that does not.
  @Test func statesOfOthersAreRefused() throws {
    var estimator = try advantageEstimators.make(advantageEstimators.describe("grpo"))
    #expect(try estimator.encodedState() == nil)
    #expect(throws: CreditError.self) { try estimator.restore(state: [1]) }
  }
}
