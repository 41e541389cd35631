import Testing

@testable import Objectives

@Suite struct LossAggregationTests {
  private let losses: [[Double]] = [[1, 2, 3], [], [4], [5, 7]]

  private func loss(_ aggregation: LossAggregation, maximumLength: Int? = nil) throws -> Double {
    let weights = try aggregation.weights(tokenCounts: losses.map(\.count), maximumLength: maximumLength)
    return zip(weights, losses).reduce(0) { $0 + $1.0 * $1.1.reduce(0, +) }
  }

  @Test func agreesWithTheDefinitions() throws {
    #expect(abs(try loss(.tokenMean) - 22.0 / 6) < 1e-12)
    #expect(abs(try loss(.sequenceMeanTokenMean) - (2.0 + 4 + 6) / 3) < 1e-12)
    #expect(abs(try loss(.sequenceMeanTokenSum) - 22.0 / 3) < 1e-12)
    #expect(abs(try loss(.sequenceMeanTokenSumNorm, maximumLength: 10) - 22.0 / 30) < 1e-12)
  }

  @Test func badInputIsRefused() {
    #expect(throws: ObjectiveError.self) { try LossAggregation.tokenMean.weights(tokenCounts: [0, 0]) }
    #expect(throws: ObjectiveError.self) { try LossAggregation.tokenMean.weights(tokenCounts: [3, -1]) }
    #expect(throws: ObjectiveError.self) { try LossAggregation.tokenMean.weights(tokenCounts: [.max, 1]) }
    #expect(throws: ObjectiveError.self) {
      try LossAggregation.sequenceMeanTokenSumNorm.weights(tokenCounts: [1])
    }
  }
}

@Suite struct ReferenceKLTests {
  /// (log-prob, reference log-prob, value, gradient), computed by torch 2.13 with verl's clamps.
  private let recorded: [(Float, Float, Float, Float)] = [
    (-1, -1, 0, 0),
    (-1, -0.5, 0.148721218, -0.648721218),
    (-0.5, -2, 0.723130226, 0.776869833),
    (-4, -1, 10, 0),
    (-1, -20, 10, 0),
    (-30, -1, 10, 0),
  ]

  @Test func recordedFromTorch() {
    for (logProb, reference, value, gradient) in recorded {
      let actual = ReferenceKL.k3(logProb: logProb, referenceLogProb: reference)
      #expect(abs(actual.value - value) < 1e-6 && abs(actual.gradient - gradient) < 1e-6, "\(logProb), \(reference)")
    }
  }

  @Test func finiteDifferences() {
    for logProb in stride(from: Float(-4), through: 0, by: 0.25) {
      let h: Float = 1e-2
      let up = ReferenceKL.k3(logProb: logProb + h, referenceLogProb: -2).value
      let down = ReferenceKL.k3(logProb: logProb - h, referenceLogProb: -2).value
      let slope = (up - down) / (2 * h)
      let gradient = ReferenceKL.k3(logProb: logProb, referenceLogProb: -2).gradient
      #expect(abs(slope - gradient) < 2e-3 * max(1, abs(gradient)))
    }
  }

  @Test func nanPassesThrough() {
    #expect(ReferenceKL.k3(logProb: .nan, referenceLogProb: 0).gradient.isNaN)
  }
}
