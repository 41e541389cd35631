import Kernels
import Parameters
import Testing
import TestSupport

@testable import Thinking

@Suite struct PolicyExampleTests {
  private func steps(_ given: [String: ParameterValue] = [:]) throws -> any SoftSteps {
    let registry = PartRegistry<any ThinkingPart>("policy", [Blended.entry])
    let policy = try registry.make(registry.describe("blended", given))
    guard case .candidates(let steps) = policy.view else { throw ThinkingError("blended draws from candidates") }
    return steps
  }

  private let ids: [Int32] = [40, 3, 17, 8, 25]
  private let logits: [Float] = [1.5, 2, -0.5, 0.75, 0.25]

  private func draw(_ steps: any SoftSteps, _ noise: StepNoise) throws -> SoftStep {
    var step = SoftStep(for: steps)
    try ids.withUnsafeBufferPointer { ids in
      try logits.withUnsafeBufferPointer { try steps.draw(tokenIDs: ids, logits: $0, noise: noise, into: &step) }
    }
    return step
  }

  private func withRecord<Result>(_ step: SoftStep, _ body: (StepRecord) throws -> Result) rethrows -> Result {
    try step.tokenIDs.withUnsafeBufferPointer { ids in
      try step.values.withUnsafeBufferPointer { try body(StepRecord(ids: ids, values: $0)) }
    }
  }

  private func noise(_ step: Int) -> StepNoise { NoiseKey(seed: 5).step(group: 2, sample: 1, step: UInt32(step)) }

  /// The first id is drawn with its probability, and the record passes its own checks.
  @Test func drawsFollowTheDistribution() throws {
    let steps = try steps(["top_p": .number(1), "temperature": .number(1.25)])
    var counts: [Int32: Double] = [:]
    let draws = 20_000
    for index in 0..<draws {
      let step = try draw(steps, noise(index))
      counts[step.emittedToken, default: 0] += 1
      guard index < 50 else { continue }
      withRecord(step) { record in
        #expect(steps.problem(with: record) == nil)
        #expect(steps.unusableValue(in: record) == nil)
        #expect(abs(steps.auditResidual(record, noise: noise(index))) < 1e-4)
      }
      #expect(abs(step.weights.reduce(0, +) - 1) < 1e-6)
      #expect(step.logProbs == [try #require(step.values.first)])
    }
    let sum = logits.reduce(0.0) { $0 + PortableMath.exp(Double($1) / 1.25) }
    for (id, logit) in zip(ids, logits) {
      let probability = PortableMath.exp(Double(logit) / 1.25) / sum
      // Five standard deviations of a share of so many draws.
      let bound = 5 * (probability * (1 - probability) / Double(draws)).squareRoot()
      #expect(abs((counts[id] ?? 0) / Double(draws) - probability) < bound)
    }
  }

  @Test func theInputIsTheBlend() throws {
    let sampled = try draw(steps(["blend": .number(0)]), noise(3))
    #expect(sampled.weights == [1] + sampled.weights.dropFirst().map { _ in 0 })
    let blended = try draw(steps(["blend": .number(0.5)]), noise(3))
    for (weight, value) in zip(blended.weights, blended.values).dropFirst() {
      #expect(abs(Double(weight) - 0.5 * PortableMath.exp(Double(value))) < 1e-6)
    }
  }

  @Test func theAuditFindsAnotherToken() throws {
    let steps = try steps(["top_p": .number(1)])
    var step = try draw(steps, noise(0))
    step.tokenIDs.swapAt(0, 1)
    step.values.swapAt(0, 1)
    #expect(withRecord(step) { steps.auditResidual($0, noise: noise(0)) } > 1e-4)
  }

  @Test func theGradientIsTheScoresSlope() throws {
    let steps = try steps(["temperature": .number(0.7), "top_p": .number(1)])
    let step = try draw(steps, noise(1))
    var gradient = [Float](repeating: 0, count: step.logits.count)
    let upstream: [Float] = [1.5]
    withRecord(step) { record in
      step.logits.withUnsafeBufferPointer { logits in
        upstream.withUnsafeBufferPointer { upstream in
          gradient.withUnsafeMutableBufferPointer {
            steps.addGradient(record, logits: logits, upstream: upstream, to: $0)
          }
        }
      }
    }
    let slopes = centralDifferences(
      of: { z in 1.5 * (z[0] / 0.7 - PortableMath.log(z.reduce(0) { $0 + PortableMath.exp($1 / 0.7) })) },
      at: doubles(step.logits))
    #expect(relativeDifference(gradient, slopes) < 1e-6)
  }
}
