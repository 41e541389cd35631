import Foundation
import Testing
import TestSupport

@testable import Thinking

/// A file of the Fixtures folder.
func fixture(_ name: String) throws -> URL {
  try #require(Bundle.module.url(forResource: "Fixtures", withExtension: nil)).appendingPathComponent(name)
}

/// A record and the soft steps of its policy, whose ids do not matter to the score.
func withRecord<Result>(
  _ ids: [Int32]? = nil, _ values: [Float], _ policy: ThinkingPolicy, count: Int? = nil,
  _ body: (StepRecord, any SoftSteps) -> Result
) -> Result {
  guard let steps = policy.softSteps else { preconditionFailure("policy \(policy.name) has no soft steps") }
  let ids = ids ?? (0..<Int32(count ?? values.count)).map { $0 }
  return ids.withUnsafeBufferPointer { ids in
    values.withUnsafeBufferPointer { body(StepRecord(ids: ids, values: $0), steps) }
  }
}

func slots(_ logits: [Float], _ values: [Float], _ policy: ThinkingPolicy, ids: [Int32]? = nil) -> [Float] {
  withRecord(ids, values, policy, count: logits.count) { record, steps in
    var slots = [Float](repeating: .nan, count: steps.slotCount)
    logits.withUnsafeBufferPointer { logits in
      slots.withUnsafeMutableBufferPointer { steps.score(record, logits: logits, into: $0) }
    }
    return slots
  }
}

func score(_ logits: [Float], _ values: [Float], _ policy: ThinkingPolicy) -> Float {
  slots(logits, values, policy)[0]
}

func scoreGradient(
  _ logits: [Float], _ values: [Float], _ policy: ThinkingPolicy, ids: [Int32]? = nil, upstream: [Float] = [1],
  from start: Float = 0
) -> [Float] {
  var gradient = [Float](repeating: start, count: logits.count)
  withRecord(ids, values, policy, count: logits.count) { record, steps in
    logits.withUnsafeBufferPointer { logits in
      upstream.withUnsafeBufferPointer { upstream in
        gradient.withUnsafeMutableBufferPointer {
          steps.addGradient(record, logits: logits, upstream: upstream, to: $0)
        }
      }
    }
  }
  return gradient
}

func divergence(
  _ theta: [Float], _ reference: [Float], _ policy: ThinkingPolicy, ids: [Int32]? = nil
) -> (value: Float, gradient: [Float]) {
  var gradient = [Float](repeating: 0, count: theta.count)
  let values = [Float](repeating: 0, count: theta.count)
  let value = withRecord(ids, values, policy) { record, steps in
    theta.withUnsafeBufferPointer { theta in
      reference.withUnsafeBufferPointer { reference in
        gradient.withUnsafeMutableBufferPointer {
          steps.divergence(record, logits: theta, referenceLogits: reference, upstream: 1, addingGradientTo: $0)
        }
      }
    }
  }
  return (value, gradient)
}

func sample(_ ids: [Int32], _ logits: [Float], _ policy: ThinkingPolicy, _ noise: StepNoise) throws -> SoftStep {
  var step = SoftStep(for: try #require(policy.softSteps))
  try sample(ids, logits, policy, noise, into: &step)
  return step
}

func sample(
  _ ids: [Int32], _ logits: [Float], _ policy: ThinkingPolicy, _ noise: StepNoise, into step: inout SoftStep
) throws {
  let steps = try #require(policy.softSteps)
  try ids.withUnsafeBufferPointer { ids in
    try logits.withUnsafeBufferPointer { try steps.draw(tokenIDs: ids, logits: $0, noise: noise, into: &step) }
  }
}

func audit(_ ids: [Int32], _ values: [Float], _ policy: ThinkingPolicy, _ noise: StepNoise) -> Double {
  withRecord(ids, values, policy) { $1.auditResidual($0, noise: noise) }
}

func weights(_ values: [Float], _ policy: ThinkingPolicy, ids: [Int32]? = nil) -> [Float] {
  var weights = [Float](repeating: 0, count: max(values.count, ids?.count ?? 0))
  let fed = withRecord(ids, values, policy) { record, steps in
    weights.withUnsafeMutableBufferPointer { steps.mixture(record, into: $0) }
  }
  return Array(weights[..<fed])
}

func noise(_ step: Int, seed: UInt64 = 11) -> StepNoise {
  NoiseKey(seed: seed).step(group: 3, sample: 1, step: UInt32(step))
}

/// Probabilities of a softmax, in double precision with libm: the naive twin.
func naiveSoftmax(_ logits: [Float], temperature: Double = 1) -> [Double] {
  let largest = Double(logits.max() ?? 0)
  let terms = logits.map { exp((Double($0) - largest) / temperature) }
  let sum = terms.reduce(0, +)
  return terms.map { $0 / sum }
}

/// Pearson's statistic over its degrees of freedom, as a standard normal deviate (Wilson and Hilferty).
func chiSquareDeviate(observed: [Int], probabilities: [Double]) -> Double {
  let total = Double(observed.reduce(0, +))
  var statistic = 0.0
  for (count, probability) in zip(observed, probabilities) where probability > 0 {
    statistic += (Double(count) - total * probability) * (Double(count) - total * probability) / (total * probability)
  }
  let freedom = Double(probabilities.filter { $0 > 0 }.count - 1)
  return (cbrt(statistic / freedom) - (1 - 2 / (9 * freedom))) / (2 / (9 * freedom)).squareRoot()
}
