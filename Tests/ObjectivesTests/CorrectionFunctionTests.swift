import Testing

@testable import Objectives

@Suite struct CorrectionFunctionTests {
  /// The token form has the bits of the weights that runs have used since they exist.
  @Test func tokenWeightsAreThoseOfRuns() throws {
    let (old, worker): ([Float], [Float]) = ([-1, -2, -0.3, -40], [-1.1, -2.9, -0.2, 0])
    let weights = try TruncatedImportance(cap: 1.7).weights(learnerOldLogProbs: old, workerLogProbs: worker)
    for (index, weight) in weights.enumerated() {
      let expected = truncatedImportanceWeight(
        learnerOldLogProb: old[index], workerLogProb: worker[index], cap: 1.7)
      #expect(Float(weight).bitPattern == expected.bitPattern)
    }
  }

  @Test func listsThatAreNotParallelAreRefused() {
    for level in ImportanceLevel.allCases {
      #expect(throws: ObjectiveError.self) {
        try TruncatedImportance(level: level).weights(learnerOldLogProbs: [-1, -2], workerLogProbs: [-1])
      }
    }
    #expect(throws: ObjectiveError.self) {
      try KLInReward.tokenRewards(
        reward: 1, oldLogProbs: [-1], referenceLogProbs: [], coefficient: 0.1, estimator: .k1)
    }
  }

  @Test func criteriaAreReadWhole() throws {
    for bad in ["token", "token_k4", "seq_median_k1", "k1", ""] {
      #expect(throws: ObjectiveError.self) { try Rejection(criterion: bad, threshold: "2") }
    }
    for bad in ["", "a", "0.5_2_3", "2_0.5", "0_2", "-1"] {
      #expect(throws: ObjectiveError.self) { try Rejection(criterion: "token_k1", threshold: bad) }
    }
    #expect(try Rejection(criterion: "seq_max_k3", threshold: "0.5").reach == .maximum)
  }

  /// k1 is minus the log-ratio: bounds of 1/4 and 2 keep ratios of 1/2 to 4.
  @Test func asymmetricBoundsActOnTheInverseRatio() throws {
    let rejection = try Rejection(criterion: "token_k1", threshold: "0.25_2.0")
    let kept = try rejection.kept(learnerOldLogProbs: [1.3, 1.5, -0.6, -0.8], workerLogProbs: [0, 0, 0, 0])
    #expect(kept == [true, false, true, false])
  }

  @Test func weightsOutsideTheRangeAreMaskedOrClamped() throws {
    // Ratios of e^0.5, e^1.25 and e^-1 of the tokens; their product is e^0.75.
    let (old, worker): ([Float], [Float]) = ([0.5, 1.25, -1], [0, 0, 0])
    func weights(_ mode: MaskedImportance.Mode, _ minimum: Double?, _ maximum: Double) throws -> [Float] {
      try MaskedImportance(mode: mode, minimum: minimum, maximum: maximum)
        .weights(learnerOldLogProbs: old, workerLogProbs: worker).map(Float.init)
    }
    let half = exponential(0.5)
    #expect(try weights(.tokenMask, 0.5, 3) == [half, 0, 0])
    #expect(try weights(.tokenMask, nil, 3) == [half, 0, exponential(-1)])
    #expect(try weights(.tokenTruncate, 0.5, 3) == [half, 3, 0.5])
    #expect(try weights(.sequenceMask, nil, 2) == [0, 0, 0])
    #expect(try weights(.sequenceMask, nil, 3) == [Float](repeating: exponential(0.75), count: 3))
    #expect(try weights(.sequenceTruncate, nil, 2) == [2, 2, 2])
    #expect(try weights(.sequenceTruncate, 2.5, 3) == [2.5, 2.5, 2.5])
  }

  @Test func decoupledWeightsAreClampedOrMasked() throws {
    func weights(_ correction: DecoupledCorrection) throws -> [Float] {
      try correction.weights(proximalLogProbs: [0.5, 2, -1], behaviourLogProbs: [0, 0, 0]).map(Float.init)
    }
    #expect(try weights(DecoupledCorrection()) == [exponential(0.5), 5, exponential(-1)])
    #expect(try weights(DecoupledCorrection(lower: 0.5)) == [exponential(0.5), 5, 0.5])
    #expect(try weights(DecoupledCorrection(action: .mask, lower: 0.5)) == [exponential(0.5), 0, 0])
    #expect(
      try weights(DecoupledCorrection(level: .geometricMean)) == [Float](repeating: exponential(0.5), count: 3))
  }

  @Test func truncatedWeightsOfASequenceAreTheProduct() throws {
    let (weights, fraction) = try TruncatedImportance(level: .sequence, cap: 1.5, normalises: true)
      .weights([([0.5, 0.5], [0, 0]), ([-0.25, -0.25], [0, 0])])
    let mean = (1.5 + Double(exponential(-0.5))) / 2
    #expect(abs(weights[0][0] - 1.5 / mean) < 1e-6 && weights[0][0] == weights[0][1])
    #expect(abs(weights[1][0] - Double(exponential(-0.5)) / mean) < 1e-6 && fraction == 0.5)
  }

  @Test func staleTrajectoriesOfNegativeAdvantageAreDropped() throws {
    let mask = OffPolicySequenceMask(threshold: 0.1)
    func kept(_ shift: Float, _ advantage: Double) throws -> Bool {
      try mask.isKept(logProbs: [-1 - shift, -2], workerLogProbs: [-1, -2], advantage: advantage)
    }
    #expect(try !kept(0.5, -1) && kept(0.5, 1) && kept(0.125, -1) && kept(-0.5, -1))
  }

  @Test func nanIsKeptAndVisible() throws {
    let weights = try TruncatedImportance().weights(learnerOldLogProbs: [.nan], workerLogProbs: [-1])
    #expect(weights[0].isNaN)
    let masked = try MaskedImportance(mode: .tokenMask).weights(learnerOldLogProbs: [.nan], workerLogProbs: [-1])
    #expect(masked[0].isNaN)
  }

  @Test(arguments: KLEstimator.allCases) func estimatorsAreZeroAtTheReference(_ estimator: KLEstimator) {
    let term = estimator.term(logProb: -1.25, oldLogProb: -1.25, referenceLogProb: -1.25)
    #expect(term.value == 0)
    #expect(term.gradient == (estimator == .k1 ? 1 : 0))
    #expect(estimator.term(logProb: .nan, oldLogProb: -1, referenceLogProb: -1).value.isNaN)
  }

  /// The gradients are those of the values, but for the straight-through forms, which have k2's.
  @Test(arguments: KLEstimator.allCases) func estimatorGradients(_ estimator: KLEstimator) {
    let source: KLEstimator =
      estimator == .k1StraightThrough || estimator == .k3StraightThrough ? .k2 : estimator
    for logProb in [-2.5, -1.75, -0.5] as [Float] {
      func value(_ own: Float) -> Double {
        Double(source.term(logProb: own, oldLogProb: -1.5, referenceLogProb: -1.25).value)
      }
      let slope = (value(logProb + 1 / 128) - value(logProb - 1 / 128)) * 64
      let gradient = Double(estimator.term(logProb: logProb, oldLogProb: -1.5, referenceLogProb: -1.25).gradient)
      #expect(abs(slope - gradient) < 1e-3 * max(1, abs(gradient)), "at \(logProb)")
    }
  }
}
