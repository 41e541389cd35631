import Kernels
import Parameters

/// Soft Thinking (2505.15778): the mixture weighted by the probabilities themselves. Deterministic: for inference and
/// evaluation only. A record's values are log q, largest first; its log-prob is 0.
struct Noiseless: TruncatedSteps {
  static let name = "none"
  static let summary = "Soft Thinking (2505.15778): the mixture of the probabilities themselves; for evaluation only."
  static let parameters = Truncation.parameters

  let truncation: Truncation

  init(_ values: ParameterValues) throws { truncation = try Truncation(values) }

  var untrainable: (parameter: String, reason: String)? { ("policy", "none is deterministic and cannot be trained") }

  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep
  ) throws {
    try truncation.load(tokenIDs, logits, into: &step.order)
    step.order.removeAll { $0.probability <= 0 }
    for i in step.order.indices { step.order[i].value = Float(PortableMath.log(step.order[i].probability)) }
    sort(&step.order) { $0.value != $1.value ? $0.value > $1.value : $0.tokenID < $1.tokenID }
    step.record(step.order)
    step.complete(by: self)
  }

  /// q = softmax(log q).
  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    softmaxWeights(record.values, temperature: 1, into: weights)
    return record.values.count
  }

  func score(_ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>) {
    slots[0] = 0
  }

  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {}

  /// The categorical form.
  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    categoricalDivergence(
      logits: logits, referenceLogits: referenceLogits, temperature: Double(truncation.temperature), upstream: upstream,
      addingGradientTo: gradient)
  }

  func problem(with record: StepRecord) -> String? {
    if record.values.isEmpty || record.values.count < record.ids.count {
      return "\(record.values.count) values for \(record.ids.count) ids; a step of policy none has one each"
    }
    return sortedRecordProblem(record, topK: truncation.topK)
  }

  /// A log-probability.
  func unusableValue(in record: StepRecord) -> Float? { record.values.first { !(-110...0.001).contains($0) } }

  /// No noise is drawn: the residual of sum exp(log q) = 1.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double {
    guard record.values.count > 0 else { return .nan }
    var sum = 0.0
    for value in record.values { sum += PortableMath.exp(Double(value)) }
    return sum - 1
  }
}
