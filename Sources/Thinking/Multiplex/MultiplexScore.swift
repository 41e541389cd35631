import Kernels

// log q(a_j) = z_(a_j) / T - log sum_S exp(z / T), S the recorded support with each id once.
extension Multiplex {
  func score(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>
  ) {
    let temperature = Double(truncation.temperature)
    let largest = Double(largestOf(logits))
    let logSum = PortableMath.log(withSupport(record, logits) { _, sum in sum })
    var joint = 0.0
    for draw in 0..<width {
      let logProb = (Double(logits[draw]) - largest) / temperature - logSum
      joint += logProb
      if ratio == .perDraw { slots[draw] = Float(logProb) }
    }
    if ratio == .joint { slots[0] = Float(joint) }
  }

  /// d/dz_i of sum_j c_j log q(a_j) = (sum of the c_j with a_j = i - q_i sum_j c_j) / T; a repeated id's share is its first
  /// occurrence's.
  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    precondition(gradient.count >= logits.count, "a soft step's gradient: output buffer too short")
    let scale = 1 / Double(truncation.temperature)
    withSupport(record, logits) { terms, sum in
      var total = 0.0
      for draw in 0..<width { total += Double(upstream[ratio == .joint ? 0 : draw]) }
      for i in logits.indices where !isRepeat(i, record) {
        var own = 0.0
        for draw in 0..<width where record.ids[draw] == record.ids[i] {
          own += Double(upstream[ratio == .joint ? 0 : draw])
        }
        gradient[i] += Float(scale * (own - total * (terms[i] / sum)))
      }
    }
  }

  /// K KL(q_theta || q_ref) of the categorical distributions over the support: the draws are independent.
  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    let temperature = Double(truncation.temperature)
    let (largest, largestReference) = (Double(largestOf(logits)), Double(largestOf(referenceLogits)))
    let logSumReference = PortableMath.log(withSupport(record, referenceLogits) { _, sum in sum })
    return withSupport(record, logits) { terms, sum in
      let logSum = PortableMath.log(sum)
      func difference(_ i: Int) -> Double {
        let own = (Double(logits[i]) - largest) / temperature - logSum
        return own - ((Double(referenceLogits[i]) - largestReference) / temperature - logSumReference)
      }
      var divergence = 0.0
      for i in logits.indices where terms[i] > 0 || terms[i].isNaN { divergence += terms[i] / sum * difference(i) }
      if let gradient {
        let scale = Double(upstream) * Double(width) / temperature
        for i in logits.indices where terms[i] > 0 || terms[i].isNaN {
          gradient[i] += Float(scale * (terms[i] / sum) * (difference(i) - divergence))
        }
      }
      return Float(Double(width) * divergence)
    }
  }

  /// The terms exp((z - z_max) / T) of the recorded ids, 0 for a repeat, and their sum, in recorded order.
  @inline(__always)
  private func withSupport<Result>(
    _ record: StepRecord, _ logits: UnsafeBufferPointer<Float>,
    _ body: (_ terms: UnsafeMutableBufferPointer<Double>, _ sum: Double) -> Result
  ) -> Result {
    let temperature = Double(truncation.temperature)
    let largest = Double(largestOf(logits))
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { terms in
      var sum = 0.0
      for i in logits.indices {
        terms[i] = isRepeat(i, record) ? 0 : PortableMath.exp((Double(logits[i]) - largest) / temperature)
        sum += terms[i]
      }
      return body(terms, sum)
    }
  }

  /// Whether the id was drawn before.
  @inline(__always)
  private func isRepeat(_ index: Int, _ record: StepRecord) -> Bool {
    guard index > 0, index < width else { return false }
    for earlier in 0..<index where record.ids[earlier] == record.ids[index] { return true }
    return false
  }
}
