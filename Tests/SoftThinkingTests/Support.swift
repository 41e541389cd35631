import Foundation
import Testing

@testable import SoftThinking

/// A file of the Fixtures folder.
func fixture(_ name: String) throws -> URL {
  try #require(Bundle.module.url(forResource: "Fixtures", withExtension: nil)).appendingPathComponent(name)
}

func score(_ logits: [Float], _ values: [Float], _ policy: ThinkingPolicy) -> Float {
  logits.withUnsafeBufferPointer { logits in
    values.withUnsafeBufferPointer { scoreSoftStep(logits: logits, values: $0, policy: policy) }
  }
}

func scoreGradient(_ logits: [Float], _ values: [Float], _ policy: ThinkingPolicy, upstream: Float = 1) -> [Float] {
  var gradient = [Float](repeating: 0, count: logits.count)
  logits.withUnsafeBufferPointer { logits in
    values.withUnsafeBufferPointer { values in
      gradient.withUnsafeMutableBufferPointer {
        softStepGradient(logits: logits, values: values, policy: policy, upstream: upstream, into: $0)
      }
    }
  }
  return gradient
}

func divergence(_ theta: [Float], _ reference: [Float], _ policy: ThinkingPolicy) -> (value: Float, gradient: [Float]) {
  var gradient = [Float](repeating: 0, count: theta.count)
  let value = theta.withUnsafeBufferPointer { theta in
    reference.withUnsafeBufferPointer { reference in
      gradient.withUnsafeMutableBufferPointer {
        softStepKL(thetaLogits: theta, referenceLogits: reference, policy: policy, addingGradientTo: $0)
      }
    }
  }
  return (value, gradient)
}

func sample(_ ids: [Int32], _ logits: [Float], _ policy: ThinkingPolicy, _ noise: StepNoise) throws -> SoftStep {
  var step = SoftStep(topK: ids.count)
  try sample(ids, logits, policy, noise, into: &step)
  return step
}

func sample(
  _ ids: [Int32], _ logits: [Float], _ policy: ThinkingPolicy, _ noise: StepNoise, into step: inout SoftStep
) throws {
  try ids.withUnsafeBufferPointer { ids in
    try logits.withUnsafeBufferPointer {
      try sampleSoftStep(tokenIDs: ids, logits: $0, policy: policy, noise: noise, into: &step)
    }
  }
}

func audit(_ ids: [Int32], _ values: [Float], _ policy: ThinkingPolicy, _ noise: StepNoise) -> Double {
  ids.withUnsafeBufferPointer { ids in
    values.withUnsafeBufferPointer { auditResidual(tokenIDs: ids, values: $0, policy: policy, noise: noise) }
  }
}

func weights(_ values: [Float], _ policy: ThinkingPolicy) -> [Float] {
  var weights = [Float](repeating: 0, count: values.count)
  values.withUnsafeBufferPointer { values in
    weights.withUnsafeMutableBufferPointer { mixtureWeights(values: values, policy: policy, into: $0) }
  }
  return weights
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
