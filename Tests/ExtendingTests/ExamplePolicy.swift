import Kernels
import Parameters

@testable import Thinking

/// Draws a token from the truncated softmax and feeds it mixed with the distribution that it was drawn from: the input
/// is (1 - blend) E[token] + blend sum_i q_i E[i]. With blend 0 it is the discrete policy under its truncation.
///
/// A record's ids are the drawn token and the rest of the truncated support by falling probability; its values are
/// log q of each under the sampling policy. A step has one slot, log q of the drawn token.
struct Blended: TruncatedSteps {
  static let name = "blended"
  static let summary = "A drawn token, mixed with the distribution that it was drawn from."
  static let parameters =
    Truncation.parameters + [
      Parameter.number("blend", 0.5, .between(0, 1), "`blended` only: share of the distribution in the input.")
    ]
  static let variants: [[String: ParameterValue]] = [[:], ["blend": .number(0)]]

  let truncation: Truncation
  let blend: Float

  init(_ values: ParameterValues) throws {
    truncation = try Truncation(values)
    blend = Float(values.number("blend"))
  }

  var endIsScoredUnderSupport: Bool { true }

  // Draw: argmax of z / T + Gumbel noise over the support, ties to the smaller id.
  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep
  ) throws {
    try truncation.load(tokenIDs, logits, into: &step.order)
    step.order.removeAll { $0.probability <= 0 }
    for i in step.order.indices { step.order[i].value = Float(PortableMath.log(step.order[i].probability)) }
    var winner = 0
    var winning = -Float.infinity
    for i in step.order.indices {
      let score = step.order[i].value + noise.gumbel(step.order[i].tokenID)
      if score > winning || (score == winning && step.order[i].tokenID < step.order[winner].tokenID) {
        (winning, winner) = (score, i)
      }
    }
    step.removeRecord()
    step.order.insert(step.order.remove(at: winner), at: 0)
    for component in step.order {
      step.tokenIDs.append(component.tokenID)
      step.logits.append(component.logit)
      step.values.append(component.value)
    }
    // Mixture and log-prob, by the functions below.
    step.complete(by: self)
  }

  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    softmaxWeights(record.values, temperature: 1, into: weights)
    for i in record.values.indices { weights[i] *= blend }
    weights[0] += 1 - blend
    return record.values.count
  }

  // log q_0 = z_0 / T - log sum exp(z / T)
  func score(_ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      let temperature = Double(truncation.temperature)
      let logSum = softmax(logits, temperature: temperature, into: q)
      slots[0] = Float((Double(logits[0]) - Double(largestOf(logits))) / temperature - logSum)
    }
  }

  // d(log q_0) / d(z_i) = ((i = 0) - q_i) / T
  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      softmax(logits, temperature: Double(truncation.temperature), into: q)
      let scale = Double(upstream[0]) / Double(truncation.temperature)
      for i in logits.indices { gradient[i] += Float(scale * ((i == 0 ? 1 : 0) - q[i])) }
    }
  }

  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    categoricalDivergence(
      logits: logits, referenceLogits: referenceLogits, temperature: Double(truncation.temperature), upstream: upstream,
      addingGradientTo: gradient)
  }

  func problem(with record: StepRecord) -> String? {
    let (ids, values) = (record.ids, record.values)
    guard !ids.isEmpty, values.count == ids.count else {
      return "\(values.count) values for \(ids.count) ids; a step has one each"
    }
    if ids.count > truncation.topK { return "\(ids.count) ids, but policy.top_k is \(truncation.topK)" }
    for i in ids.indices where ids[..<i].contains(ids[i]) { return "token id \(ids[i]) appears twice" }
    let sum = values.reduce(0.0) { $0 + PortableMath.exp(Double($1)) }
    return abs(sum - 1) < 1e-3 ? nil : "the probabilities of its support sum to \(Float(sum)), not to 1"
  }

  func unusableValue(in record: StepRecord) -> Float? { record.values.first { !(-110...0.001).contains($0) } }

  /// The larger of two: how far the probabilities are from 1, and how far the drawn token is from the largest perturbed
  /// log-probability.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double {
    let (ids, values) = (record.ids, record.values)
    guard let first = ids.first, values.count == ids.count else { return .nan }
    var residual = abs(values.reduce(-1.0) { $0 + PortableMath.exp(Double($1)) })
    let own = Double(values[0]) + Double(noise.gumbel(first))
    for i in ids.indices {
      let gap = Double(values[i]) + Double(noise.gumbel(ids[i])) - own
      if gap > residual || gap.isNaN { residual = gap }
    }
    return residual
  }
}
