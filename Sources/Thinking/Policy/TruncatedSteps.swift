import Kernels

/// A policy whose soft steps are drawn from the k components that a truncation keeps, and have one log-prob each. A policy that
/// records more, or scores more slots, says so itself.
protocol TruncatedSteps: ThinkingPart, SoftSteps {
  /// What a step is drawn from.
  var truncation: Truncation { get }
}

extension TruncatedSteps {
  var view: ThinkingView { .candidates(self) }
  var scoringTemperature: Float { truncation.temperature }
  var candidateCount: Int { truncation.topK }
  var recordWidth: Int { truncation.topK }
  var slotCount: Int { 1 }

  /// Calls `body` with q and q_ref, the softmax of both rows of logits at the truncation's temperature, shapes (r).
  func withProbabilities<Result>(
    _ logits: UnsafeBufferPointer<Float>, reference referenceLogits: UnsafeBufferPointer<Float>,
    _ body: (_ q: UnsafeMutableBufferPointer<Double>, _ reference: UnsafeMutableBufferPointer<Double>) -> Result
  ) -> Result {
    let count = logits.count
    precondition(
      count > 0 && referenceLogits.count == count, "a divergence of \(count) and \(referenceLogits.count) logits")
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * count) { scratch in
      let q = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
      let reference = UnsafeMutableBufferPointer(rebasing: scratch[count...])
      softmax(logits, temperature: Double(truncation.temperature), into: q)
      softmax(referenceLogits, temperature: Double(truncation.temperature), into: reference)
      return body(q, reference)
    }
  }

  /// Adds `scale` / T times the gradient, with respect to the logits, of a function of q = softmax(logits / T), T the truncation's
  /// temperature.
  ///
  /// - Parameter slopes: writes every derivative with respect to q_i into `dQ` and returns what divides them all (the number of
  ///   components of a mean); 0: there is no gradient.
  func differentiate(
    _ logits: UnsafeBufferPointer<Float>, scale: Double, into gradient: UnsafeMutableBufferPointer<Float>,
    _ slopes: (_ q: UnsafeMutableBufferPointer<Double>, _ dQ: UnsafeMutableBufferPointer<Double>) -> Double
  ) {
    precondition(gradient.count >= logits.count, "a soft step's gradient: output buffer too short")
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * logits.count) { scratch in
      let q = UnsafeMutableBufferPointer(rebasing: scratch[..<logits.count])
      let dQ = UnsafeMutableBufferPointer(rebasing: scratch[logits.count...])
      softmax(logits, temperature: Double(truncation.temperature), into: q)
      let divisor = slopes(q, dQ)
      guard divisor > 0 else { return }
      addThroughProbabilities(q, dQ, scale: scale / (divisor * Double(truncation.temperature)), into: gradient)
    }
  }
}
