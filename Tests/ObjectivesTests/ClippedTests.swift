import Testing
import TestSupport

@testable import Objectives

@Suite struct ClippedTests {
  private let objective = Clipped(clipLow: 0.2, clipHigh: 0.28, dualClip: 3)

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
      let term = objective.term(ObjectiveStep(logProb: logProb, oldLogProb: old, advantage: advantage))
      #expect(abs(term.loss - loss) < 1e-6, "loss at \(logProb), \(old), \(advantage)")
      #expect(abs(term.gradient - gradient) < 1e-6, "gradient at \(logProb), \(old), \(advantage)")
    }
  }

  private func evaluate(
    _ logProbs: [Float], _ old: [Float], advantage: Float, weight: Double, factors: [Float]? = nil
  ) throws -> ObjectiveResult {
    let trajectory = ObjectiveTrajectory(
      logProbs: logProbs, oldLogProbs: old, advantages: [advantage], weight: weight, factors: factors)
    var result = try objective.evaluate([trajectory], context: ObjectiveContext())
    result.sums.addRatios(logProbs: logProbs, oldLogProbs: old)
    return result
  }

  @Test func branchesAreCounted() throws {
    let result = try evaluate([-1, -1, -0.5], [-1, -0.5, -2], advantage: -2, weight: 0.25)
    let sums = result.sums
    #expect(sums.slotCount == 3 && sums.clippedCount == 1 && sums.dualClippedCount == 1)
    #expect(abs(sums.policyKL - (0 + 0.5 - 1.5) / 3) < 1e-7)
    #expect(abs(sums.ratioMaximum - 4.48168907) < 1e-6)
    #expect(abs(result.loss - 0.25 * (2 + 1.6 + 6)) < 1e-6)
    #expect(result.coefficients == [[0.5, 0, 0]])
  }

  @Test func finiteDifferences() {
    for advantage in [-1.3, -0.2, 0.4, 2] as [Float] {
      for logProb in stride(from: Float(-3), through: 0, by: 0.0703) {
        let old: Float = -1.4
        let h: Float = 1e-3
        let up = objective.term(ObjectiveStep(logProb: logProb + h, oldLogProb: old, advantage: advantage))
        let down = objective.term(ObjectiveStep(logProb: logProb - h, oldLogProb: old, advantage: advantage))
        // A kink between the two points has no derivative to compare with.
        guard up.measured == down.measured else { continue }
        let here = objective.term(ObjectiveStep(logProb: logProb, oldLogProb: old, advantage: advantage))
        let slope = (up.loss - down.loss) / (logProb + h - (logProb - h))
        #expect(abs(slope - here.gradient) < 4e-3 * max(1, abs(here.gradient)), "\(logProb), \(advantage)")
      }
    }
  }

  @Test func withoutDualClipTheLossIsUnbounded() {
    let term = Clipped(dualClip: nil).term(ObjectiveStep(logProb: 0, oldLogProb: -3, advantage: -1))
    #expect(abs(term.loss - 20.0855) < 1e-3)
    #expect(term.gradient == term.loss)
  }

  @Test func tiedDualClipKeepsHalf() {
    // Ratio 1 and c = 1: the bound equals the loss exactly, and torch.minimum splits.
    let term = Clipped(dualClip: 1).term(ObjectiveStep(logProb: -1, oldLogProb: -1, advantage: -2))
    #expect(term.gradient == 1)
  }

  @Test func hugeRatiosStayFiniteWithoutGradient() {
    let objective = Clipped(dualClip: nil)
    let up = objective.term(ObjectiveStep(logProb: 0, oldLogProb: -1000, advantage: -1))
    #expect(up.loss.isFinite && up.gradient == 0)
    let down = objective.term(ObjectiveStep(logProb: -1000, oldLogProb: 0, advantage: 1))
    #expect(down.loss.isFinite && down.gradient == 0)
    let worst = objective.term(ObjectiveStep(logProb: -.infinity, oldLogProb: 0, advantage: 1))
    #expect(worst.loss.isFinite && worst.gradient == 0)
  }

  @Test func nanReachesLossAndSums() throws {
    let result = try evaluate([.nan], [0], advantage: 1, weight: 1)
    #expect(result.coefficients[0][0].isNaN && result.sums.ratioMaximum.isNaN)
  }

  @Test func factorsScaleLossAndGradient() throws {
    let result = try evaluate([-1, -1], [-1, -1], advantage: 1, weight: 0.5, factors: [0.5, 2])
    #expect(result.coefficients == [[-0.25, -1]])
    #expect(abs(result.loss + 1.25) < 1e-12)
    #expect(throws: ObjectiveError.self) { try evaluate([1], [], advantage: 1, weight: 1) }
    #expect(throws: ObjectiveError.self) { try evaluate([1], [1], advantage: 1, weight: 1, factors: []) }
  }

  @Test func partsMergeIntoTheWhole() throws {
    let logProbs: [Float] = [-1, -0.2, -3, -1.2]
    let old: [Float] = [-1.1, -2, -0.1, -1.2]
    let whole = try evaluate(logProbs, old, advantage: -1, weight: 0.25)
    var merged = NamedSums()
    for index in 0..<4 {
      merged.merge(try evaluate([logProbs[index]], [old[index]], advantage: -1, weight: 0.25).sums)
    }
    #expect(merged == whole.sums)
  }

  @Test func truncatedImportanceWeights() {
    #expect(truncatedImportanceWeight(learnerOldLogProb: -1, workerLogProb: -1, cap: 2) == 1)
    #expect(truncatedImportanceWeight(learnerOldLogProb: 0, workerLogProb: -50, cap: 2) == 2)
    #expect(abs(truncatedImportanceWeight(learnerOldLogProb: -1.5, workerLogProb: -1, cap: 2) - 0.606530666) < 1e-7)
    #expect(truncatedImportanceWeight(learnerOldLogProb: .nan, workerLogProb: -1, cap: 2).isNaN)
  }
}
