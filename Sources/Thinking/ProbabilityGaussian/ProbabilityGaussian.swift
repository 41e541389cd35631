import Kernels
import Parameters

/// An ablation of SofT-GRPO (2511.06411): normal noise on the truncated probabilities, v_i = q_i + sigma eps_i.
///
/// The next input is sum_i v_i / (sum_j v_j) E_i, which is what was sampled; the authors' learner rebuilds another one,
/// softmax(v). Weights may be negative. A record's values are v, largest first; the emitted token is the first. Thinking ends
/// when it is an end token, which is scored as a token over the whole vocabulary, as released.
struct ProbabilityGaussian: TruncatedSteps {
  static let name = "probability_gaussian"
  static let summary = "A SofT-GRPO ablation (2511.06411): a mixture weighted by probabilities with normal noise."
  private static let sigmaParameter = Parameter.number(
    "probability_sigma", 0.05, .above(0, upTo: 1),
    "`probability_gaussian` only: standard deviation of the noise on the probabilities.")
  static let parameters = Truncation.parameters + [sigmaParameter]

  /// Components whose probability is not above this do not enter the score.
  private static let supportMinimum = 0.05
  /// Values are clamped to so many standard deviations around q before they are scored; no gradient beyond.
  private static let clampSigmas = 3.0
  /// The values' sum, which divides the weights, is no smaller.
  private static let smallestSum = 0.1

  static let noiseParameter: String? = "probability_sigma"
  let truncation: Truncation
  let sigma: Double

  init(_ values: ParameterValues) throws {
    truncation = try Truncation(values)
    sigma = Double(try values.float(Self.sigmaParameter))
    // The sum's standard deviation is at most sigma sqrt(k): six of them stay above `smallestSum`.
    guard sigma * Double(truncation.topK).squareRoot() <= 0.15 else {
      throw ParameterError(
        "probability_sigma: times the square root of top_k = \(truncation.topK) must be at most 0.15, or sums of noisy "
          + "probabilities come near 0; got \(plainNumber(values.number("probability_sigma")))")
    }
  }

  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep
  ) throws {
    try truncation.load(tokenIDs, logits, into: &step.order)
    step.order.removeAll { $0.probability <= 0 }
    var sum = 0.0
    for i in step.order.indices {
      let value = Float(step.order[i].probability + sigma * noise.normal(step.order[i].tokenID))
      step.order[i].value = value
      sum += Double(value)
    }
    guard sum >= Self.smallestSum else {
      throw ThinkingError("the noisy probabilities sum to \(sum); lower probability_sigma or top_k")
    }
    sort(&step.order) { $0.value != $1.value ? $0.value > $1.value : $0.tokenID < $1.tokenID }
    step.record(step.order)
    step.complete(by: self)
  }

  /// v_i / sum_j v_j.
  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    var sum = 0.0
    for value in record.values { sum += Double(value) }
    for i in record.values.indices { weights[i] = Float(Double(record.values[i]) / sum) }
    return record.values.count
  }

  /// The mean over components with q_i > 0.05 of the normal log-density of v_i, clamped to q_i +- 3 sigma, around q_i; 0 when
  /// there is none.
  func score(_ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>) {
    let halfLogTwoPi = 0.918_938_533_204_672_741_78
    slots[0] = withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      softmax(logits, temperature: Double(truncation.temperature), into: q)
      var (sum, components) = (0.0, 0)
      for i in q.indices where q[i] > Self.supportMinimum || q[i].isNaN {
        let deviation = (Double(record.values[i]) - q[i]) / sigma
        let held = deviation > Self.clampSigmas ? Self.clampSigmas : max(deviation, -Self.clampSigmas)
        sum -= 0.5 * held * held + halfLogTwoPi + PortableMath.log(sigma)
        components += 1
      }
      return Float(components == 0 ? 0 : sum / Double(components))
    }
  }

  /// d/dq_i = (v_i - q_i) / (sigma^2 n) on the n components that count and are not clamped.
  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    differentiateMean(logits, scale: Double(upstream[0]), into: gradient) { q, dQ in
      for i in q.indices where q[i] > Self.supportMinimum || q[i].isNaN {
        let distance = Double(record.values[i]) - q[i]
        if !(abs(distance) >= Self.clampSigmas * sigma) { dQ[i] = distance / (sigma * sigma) }
      }
    }
  }

  /// The divergence of the components' normal distributions, (q_i - q_ref,i)^2 / (2 sigma^2), reduced as the score is; the clamp
  /// is ignored.
  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    withProbabilities(logits, reference: referenceLogits) { q, reference in
      var (sum, components) = (0.0, 0)
      for i in q.indices where q[i] > Self.supportMinimum || q[i].isNaN {
        let distance = (q[i] - reference[i]) / sigma
        sum += 0.5 * distance * distance
        components += 1
      }
      if let gradient {
        differentiateMean(logits, scale: Double(upstream), into: gradient) { q, dQ in
          for i in q.indices where q[i] > Self.supportMinimum || q[i].isNaN {
            dQ[i] = (q[i] - reference[i]) / (sigma * sigma)
          }
        }
      }
      return Float(components == 0 ? 0 : sum / Double(components))
    }
  }

  /// Adds `scale` times the gradient of a mean over the components that count, of which `body` writes the derivatives with
  /// respect to q, over zeros.
  private func differentiateMean(
    _ logits: UnsafeBufferPointer<Float>, scale: Double, into gradient: UnsafeMutableBufferPointer<Float>,
    _ body: (_ q: UnsafeMutableBufferPointer<Double>, _ dQ: UnsafeMutableBufferPointer<Double>) -> Void
  ) {
    differentiate(logits, scale: scale, into: gradient) { q, dQ in
      dQ.update(repeating: 0)
      body(q, dQ)
      return Double(q.count { $0 > Self.supportMinimum || $0.isNaN })
    }
  }

  func problem(with record: StepRecord) -> String? {
    if record.values.isEmpty || record.values.count < record.ids.count {
      return "\(record.values.count) values for \(record.ids.count) ids; a step has one each"
    }
    if let problem = sortedRecordProblem(record, topK: truncation.topK) { return problem }
    let sum = record.values.reduce(0.0) { $0 + Double($1) }
    return sum >= Self.smallestSum * 0.999 ? nil : "its values sum to \(sum), which no draw gives"
  }

  /// A probability with noise, which is within 6.4 standard deviations of 0.
  func unusableValue(in record: StepRecord) -> Float? {
    let range = Float(-7 * sigma)...Float(1.001 + 7 * sigma)
    return record.values.first { !range.contains($0) }
  }

  /// How far sum_i (v_i - sigma eps_i) is from 1.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double {
    guard record.values.count == record.ids.count, !record.ids.isEmpty else { return .nan }
    var sum = -1.0
    for i in record.ids.indices { sum += Double(record.values[i]) - sigma * noise.normal(record.ids[i]) }
    return sum
  }
}
