import Testing

@testable import PolicyOptimization

@Suite struct ClippedObjectiveTests {
  private let objective = ClippedObjective(clipLow: 0.2, clipHigh: 0.28, dualClip: 3)

  /// (log-prob, old log-prob, advantage, loss, gradient), computed by torch 2.13 with autograd.
  private let recorded: [(Float, Float, Float, Float, Float)] = [
    (-1.0, -1.0, 1.5, -1.5, -1.5),
    (-1.0, -1.0, -1.5, 1.5, 1.5),
    (-1.0, -1.3, 1.0, -1.27999997, 0),
    (-1.0, -1.3, -1.0, 1.34985876, 1.34985876),
    (-1.5, -1.0, 1.0, -0.606530666, -0.606530666),
    (-1.5, -1.0, -1.0, 0.800000012, 0),
    (-0.5, -2.0, -2.0, 6, 0),
    (-1.0, -1.1, 0.7, -0.773619652, -0.773619652),
    (-1.05, -1.0, -0.7, 0.665860593, 0.665860593),
  ]

  @Test func recordedFromTorch() {
    for (logProb, old, advantage, loss, gradient) in recorded {
      let term = objective.term(logProb: logProb, oldLogProb: old, advantage: advantage)
      #expect(abs(term.loss - loss) < 1e-6, "loss at \(logProb), \(old), \(advantage)")
      #expect(abs(term.gradient - gradient) < 1e-6, "gradient at \(logProb), \(old), \(advantage)")
    }
  }

  @Test func branchesAreCounted() throws {
    var gradient = [Float](repeating: 0, count: 3)
    let statistics = try objective.accumulate(
      logProbs: [-1, -1, -0.5], oldLogProbs: [-1, -0.5, -2], advantage: -2, weight: 0.25, gradient: &gradient)
    #expect(statistics.tokenCount == 3)
    #expect(statistics.clippedCount == 1)
    #expect(statistics.dualClippedCount == 1)
    #expect(abs(statistics.ppoKL - (0 + 0.5 - 1.5) / 3) < 1e-7)
    #expect(abs(statistics.ratioMaximum - 4.48168907) < 1e-6)
    #expect(abs(statistics.policyLoss - 0.25 * (2 + 1.6 + 6)) < 1e-6)
    #expect(gradient == [0.5, 0, 0])
  }

  @Test func finiteDifferences() {
    for advantage in [-1.3, -0.2, 0.4, 2] as [Float] {
      for logProb in stride(from: Float(-3), through: 0, by: 0.0703) {
        let old: Float = -1.4
        let h: Float = 1e-3
        let up = objective.term(logProb: logProb + h, oldLogProb: old, advantage: advantage)
        let down = objective.term(logProb: logProb - h, oldLogProb: old, advantage: advantage)
        // A kink between the two points has no derivative to compare with.
        guard up.isClipped == down.isClipped, up.isDualClipped == down.isDualClipped else { continue }
        let here = objective.term(logProb: logProb, oldLogProb: old, advantage: advantage)
        let slope = (up.loss - down.loss) / (logProb + h - (logProb - h))
        #expect(abs(slope - here.gradient) < 4e-3 * max(1, abs(here.gradient)), "\(logProb), \(advantage)")
      }
    }
  }

  @Test func withoutDualClipTheLossIsUnbounded() {
    let term = ClippedObjective(dualClip: nil).term(logProb: 0, oldLogProb: -3, advantage: -1)
    #expect(abs(term.loss - 20.0855) < 1e-3)
    #expect(term.gradient == term.loss)
  }

  @Test func tiedDualClipKeepsHalf() {
    // Ratio 1 and c = 1: the bound equals the loss exactly, and torch.minimum splits.
    let term = ClippedObjective(dualClip: 1).term(logProb: -1, oldLogProb: -1, advantage: -2)
    #expect(term.gradient == 1)
  }

  @Test func hugeRatiosStayFiniteWithoutGradient() {
    let objective = ClippedObjective(dualClip: nil)
    let up = objective.term(logProb: 0, oldLogProb: -1000, advantage: -1)
    #expect(up.loss.isFinite && up.gradient == 0)
    let down = objective.term(logProb: -1000, oldLogProb: 0, advantage: 1)
    #expect(down.loss.isFinite && down.gradient == 0)
    let worst = objective.term(logProb: -.infinity, oldLogProb: 0, advantage: 1)
    #expect(worst.loss.isFinite && worst.gradient == 0)
  }

  @Test func nanReachesLossAndStatistics() throws {
    var gradient = [Float](repeating: 0, count: 1)
    let statistics = try objective.accumulate(
      logProbs: [.nan], oldLogProbs: [0], advantage: 1, weight: 1, gradient: &gradient)
    #expect(gradient[0].isNaN && statistics.ratioMaximum.isNaN)
  }

  @Test func correctionsScaleLossAndGradient() throws {
    var gradient: [Float] = [1, 1]
    let statistics = try objective.accumulate(
      logProbs: [-1, -1], oldLogProbs: [-1, -1], advantage: 1, weight: 0.5, corrections: [0.5, 2], gradient: &gradient)
    #expect(gradient == [0.75, 0])
    #expect(abs(statistics.policyLoss + 1.25) < 1e-12)
    #expect(throws: OptimizationError.self) {
      try objective.accumulate(logProbs: [1], oldLogProbs: [], advantage: 1, weight: 1, gradient: &gradient)
    }
  }

  @Test func partsMergeIntoTheWhole() throws {
    let logProbs: [Float] = [-1, -0.2, -3, -1.2]
    let old: [Float] = [-1.1, -2, -0.1, -1.2]
    var gradient = [Float](repeating: 0, count: 4)
    let whole = try objective.accumulate(
      logProbs: logProbs, oldLogProbs: old, advantage: -1, weight: 0.25, gradient: &gradient)
    var merged = ObjectiveStatistics()
    for index in 0..<4 {
      var one: [Float] = [0]
      merged.merge(
        try objective.accumulate(
          logProbs: [logProbs[index]], oldLogProbs: [old[index]], advantage: -1, weight: 0.25, gradient: &one))
    }
    #expect(merged == whole)
  }

  @Test func truncatedImportanceWeights() {
    #expect(truncatedImportanceWeight(learnerOldLogProb: -1, workerLogProb: -1, cap: 2) == 1)
    #expect(truncatedImportanceWeight(learnerOldLogProb: 0, workerLogProb: -50, cap: 2) == 2)
    #expect(abs(truncatedImportanceWeight(learnerOldLogProb: -1.5, workerLogProb: -1, cap: 2) - 0.606530666) < 1e-7)
    #expect(truncatedImportanceWeight(learnerOldLogProb: .nan, workerLogProb: -1, cap: 2).isNaN)
  }
}
