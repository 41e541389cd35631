import Testing

@testable import Credit

@Suite struct CreditFunctionTests {
  @Test func inputsThatDoNotFitAreRefused() {
    #expect(throws: CreditError.self) { try rankAdvantages(rewards: [[1, 2], [1]]) }
    #expect(throws: CreditError.self) { try remaxAdvantages(tokenRewards: [[1]], greedyRewards: []) }
    #expect(throws: CreditError.self) { try tempoAdvantages(rewards: [1], tokenIDs: []) }
    #expect(throws: CreditError.self) { try TreeSubgroups().advantages([.init(path: [], reward: 1, length: 1)]) }
    #expect(throws: CreditError.self) { try NoveltyBonus().advantages(rewards: [1], logProbs: [[]]) }
    #expect(throws: CreditError.self) { try SemanticEntropyScaling().advantages(rewards: [1], answers: []) }
    #expect(throws: CreditError.self) { try tokenDivergenceWeights(logDistributions: [[[0, 0]], [[0]]]) }
    #expect(throws: CreditError.self) {
      try SegmentChain().advantages(probabilities: [0.1, 0.2], values: [], score: 1)
    }
    #expect(throws: CreditError.self) {
      try optimalTokenBaselineAdvantages(rewards: [1], probability: [[0.5]], sumOfSquares: [[]])
    }
  }

  /// Once alone, a trajectory has its group's advantage; with nothing shared, the first step alone is changed.
  @Test func tempoWithoutSharedTokensDoublesTheFirstStep() throws {
    let advantages = try tempoAdvantages(
      rewards: [1, 0], tokenIDs: [[1, 2, 3], [4, 5]], normalises: false)
    #expect(advantages == [[1, 0.5, 0.5], [-1, -0.5]])
  }

  @Test func aTrajectoryWithoutCutsHasNoAdvantage() throws {
    let chain = SegmentChain(interval: 1)
    #expect(chain.cutPoints(probabilities: [0.95, 0.99]).isEmpty)
    #expect(try chain.advantages(probabilities: [0.95, 0.99], values: [], score: 1) == [0, 0])
  }

  @Test func aBranchThatEndsEarlyCountsAsMuchAsItsSiblings() {
    let tree = SegmentTree.Node.inner([.leaf(reward: 1), .inner([.leaf(reward: 0), .leaf(reward: 0)])])
    #expect(tree.value == 0.5)
    let edges = SegmentTree().edges(tree)
    #expect(edges.map(\.path) == [[0], [1], [1, 0], [1, 1]])
    #expect(edges.map(\.isTrained) == [true, true, false, false])
  }

  /// The paper's estimator calls a near-unanimous group more uncertain than an even split.
  @Test func theTwoSemanticEntropiesDisagreeOnUnequalClusters() {
    let unequal = Array(repeating: "a", count: 7) + ["b"]
    let even = Array(repeating: "a", count: 4) + Array(repeating: "b", count: 4)
    let (paper, counts) = (
      SemanticEntropyScaling(estimator: .clusterMean), SemanticEntropyScaling(estimator: .entropy)
    )
    #expect(paper.semanticEntropy(answers: unequal) > paper.semanticEntropy(answers: even))
    #expect(counts.semanticEntropy(answers: unequal) < counts.semanticEntropy(answers: even))
    #expect(counts.semanticEntropy(answers: ["a", "a"]) == 0 && counts.factor(answers: ["a"]) == 1)
  }

  /// Against every subset of a small batch.
  @Test func theSelectionHasTheLargestVariance() throws {
    let advantages = [0.3, -1.2, 0.9, 0.1, -0.4, 1.4, -0.9]
    for count in 1...advantages.count {
      let selected = VarianceSelection(rollouts: count, tokenShare: 1).selected(advantages: advantages)
      #expect(selected.indices.count == count)
      var best = 0.0
      for subset in 0..<(1 << advantages.count) where subset.nonzeroBitCount == count {
        let own = advantages.indices.filter { subset >> $0 & 1 == 1 }.map { advantages[$0] }
        best = max(best, Statistics(own).squares / Double(count))
      }
      #expect(abs(selected.variance - best) < 1e-12, "\(count)")
    }
  }

  @Test func selectionOfNothingAndOfMoreThanThereIs() throws {
    let none = VarianceSelection(rollouts: 3, tokenShare: 0.5)
    #expect(none.selected(advantages: []).indices.isEmpty)
    #expect(try none.tokens(advantages: [], entropy: [], selected: []).isEmpty)
    #expect(none.selected(advantages: [1, 2]).indices == [0, 1])
    #expect(throws: CreditError.self) { try none.tokens(advantages: [1], entropy: [], selected: [0]) }
    #expect(VarianceSelection.scheduled(initial: (2, 0.2), final: (12, 1), progress: 2).rollouts == 12)
  }

  @Test func promptsThatVaryAreKept() {
    #expect(variesInGroup([1]) && variesInGroup([0, 1]) && !variesInGroup([1, 1]) && !variesInGroup([]))
  }
}
