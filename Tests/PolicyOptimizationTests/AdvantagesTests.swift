import Testing

@testable import PolicyOptimization

@Suite struct AdvantagesTests {
  /// Naive twin: two-pass statistics of one group in plain formulas.
  private func naive(_ rewards: [Float], _ estimator: AdvantageEstimator) -> [Double] {
    let r = rewards.map(Double.init)
    let n = Double(r.count)
    let mean = r.reduce(0, +) / n
    let std = (r.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / (n - 1)).squareRoot()
    return r.indices.map { i in
      switch estimator {
      case .grpo: (r[i] - mean) / (std + 1e-6)
      case .drGRPO: r[i] - mean
      case .rloo: r[i] - (r.reduce(0, +) - r[i]) / (n - 1)
      }
    }
  }

  @Test func recordedFromTorch() throws {
    let first = try AdvantageEstimator.grpo.advantages(
      rewards: [1, 0, 0, 1, 1, 0, 1, 1], groupIDs: [Int](repeating: 7, count: 8))
    let expected: [Float] = [
      0.724567413, -1.2076124, -1.2076124, 0.724567413, 0.724567413, -1.2076124, 0.724567413, 0.724567413,
    ]
    for (a, b) in zip(first, expected) { #expect(abs(a - b) < 1e-6) }
    let second = try AdvantageEstimator.grpo.advantages(rewards: [0.5, 0.25, -1, 2], groupIDs: [1, 1, 1, 1])
    for (a, b) in zip(second, [0.050767269, -0.152301803, -1.16764712, 1.26918173] as [Float]) {
      #expect(abs(a - b) < 1e-6)
    }
  }

  @Test(arguments: AdvantageEstimator.allCases)
  func interleavedGroupsMatchTheNaiveTwin(_ estimator: AdvantageEstimator) throws {
    let rewards: [Float] = [1, 0.5, 0, 0.25, 1, -1, 2]
    let groups = [3, 9, 3, 9, 3, 9, 3]
    let actual = try estimator.advantages(rewards: rewards, groupIDs: groups)
    for group in [3, 9] {
      let indices = groups.indices.filter { groups[$0] == group }
      for (index, expected) in zip(indices, naive(indices.map { rewards[$0] }, estimator)) {
        #expect(abs(Double(actual[index]) - expected) < 1e-6)
      }
    }
  }

  @Test(arguments: AdvantageEstimator.allCases)
  func equalRewardsGiveExactlyZeroAndSingletonsTheReward(_ estimator: AdvantageEstimator) throws {
    let actual = try estimator.advantages(rewards: [0.1, 0.1, 0.1, 0.7], groupIDs: [0, 0, 0, 1])
    #expect(actual == [0, 0, 0, 0.7])
  }

  @Test func badInputIsRefused() {
    #expect(throws: OptimizationError.self) {
      try AdvantageEstimator.grpo.advantages(rewards: [1], groupIDs: [0, 1])
    }
    let error = #expect(throws: OptimizationError.self) {
      try AdvantageEstimator.rloo.advantages(rewards: [1, .nan], groupIDs: [0, 4])
    }
    #expect(error?.message.contains("trajectory 1 (group 4)") == true)
  }

  @Test func configurationNames() {
    #expect(AdvantageEstimator.allCases.map(\.rawValue) == ["grpo", "dr_grpo", "rloo"])
  }
}
