import Foundation
import Testing
import TestSupport

@testable import Thinking

/// Scores, gradients, divergences and weights against PyTorch in double precision (scripts/fixtures/soft_thinking.py).
struct DensityGoldenTests {
  struct Case: Decodable {
    var policy: ThinkingPolicy
    var logits: [Float]
    var order: [Int]
    var values: [Float]
    var theta: [Float]
    var sampling_score: Float
    var sampling_gradient: [Float]
    var theta_score: Float
    var theta_gradient: [Float]
    var kl: Float
    var kl_gradient: [Float]
    var weights: [Float]
  }

  static func cases() throws -> [Case] {
    try JSONDecoder().decode([Case].self, from: Data(contentsOf: fixture("densities.json")))
  }

  private func close(_ a: Float, _ b: Float) -> Bool { abs(a - b) <= 2e-6 + 2e-6 * abs(b) }
  private func close(_ a: [Float], _ b: [Float]) -> Bool {
    let scale = max(1, b.map(abs).max() ?? 0)
    return a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 2e-6 * scale }
  }

  @Test func everyCase() throws {
    let cases = try Self.cases()
    #expect(cases.count == 72)
    for (index, golden) in cases.enumerated() {
      let recorded = golden.order.map { golden.logits[$0] }
      let label = Comment(rawValue: "case \(index), \(golden.policy.density)")
      #expect(close(score(recorded, golden.values, golden.policy), golden.sampling_score), label)
      #expect(close(scoreGradient(recorded, golden.values, golden.policy), golden.sampling_gradient), label)
      #expect(close(score(golden.theta, golden.values, golden.policy), golden.theta_score), label)
      #expect(close(scoreGradient(golden.theta, golden.values, golden.policy), golden.theta_gradient), label)
      let kl = divergence(golden.theta, recorded, golden.policy)
      #expect(close(kl.value, golden.kl), label)
      #expect(close(kl.gradient, golden.kl_gradient), label)
      #expect(close(weights(golden.values, golden.policy), golden.weights), label)
    }
  }

  @Test func survivorsAreThoseOfPyTorch() throws {
    for golden in try Self.cases() where golden.policy.density != .reference {
      let step = try sample(golden.logits.indices.map { Int32($0) }, golden.logits, golden.policy, noise(0))
      #expect(step.tokenIDs.sorted() == golden.order.map { Int32($0) }.sorted())
    }
  }
}
