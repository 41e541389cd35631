import Kernels

// The score of a recorded step and its gradient.
//
// log q = log(softmax(logits / T) + 1e-6) over the recorded ids, without epsilon under `concrete` and `latent`. A `reference` step none of
// whose components passes the mask scores 0, without gradient.
extension Gumbel {
  func score(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>
  ) {
    checkShapes(record, logits.count)
    slots[0] = withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      let logSum = softmax(logits, temperature: Double(truncation.temperature), into: q)
      switch density {
      case .reference: return Float(referenceScore(q, record.values))
      case .exact: return Float(exactScore(q, record.values))
      case .concrete: return Float(concreteScore(logits, logSum, record.values))
      case .latent: return Float(latentScore(q, record.values))
      }
    }
  }

  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    checkShapes(record, logits.count)
    precondition(gradient.count >= logits.count, "a soft step's gradient: output buffer too short")
    let (count, values) = (logits.count, record.values)
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * count) { scratch in
      let q = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
      let dLogQ = UnsafeMutableBufferPointer(rebasing: scratch[count...])
      let logSum = softmax(logits, temperature: Double(truncation.temperature), into: q)
      let scale = Double(upstream[0]) / Double(truncation.temperature)
      switch density {
      case .reference:
        referenceGradient(q, values, into: dLogQ)
        addThroughSoftmax(q, dLogQ, scale: scale, into: gradient)
      case .exact:
        exactGradient(q, values, into: dLogQ)
        addThroughSoftmax(q, dLogQ, scale: scale, into: gradient)
      case .latent:
        latentGradient(q, values, isToFall: upstream[0] >= 0, into: dLogQ)
        // d(log q_i) = dz_i - sum_j q_j dz_j.
        let total = dLogQ.reduce(0, +)
        for i in 0..<count { gradient[i] += Float(scale * (dLogQ[i] - q[i] * total)) }
      case .concrete:
        concreteGradient(logits, logSum, values, into: dLogQ)
        for i in 0..<count { gradient[i] += Float(scale * dLogQ[i]) }
      }
    }
  }

  private func checkShapes(_ record: StepRecord, _ logits: Int) {
    let values = record.values.count
    precondition(values >= 1 && values <= logits, "a soft step needs 1 to \(logits) values, not \(values)")
    precondition(
      values == logits || density == .concrete || density == .latent, "a density that records a value for each id")
  }
}

/// Inverts log q = log(softmax(z / T) + 1e-6): dq_i = dlogq_i / (q_i + 1e-6).
func addThroughSoftmax(
  _ q: UnsafeMutableBufferPointer<Double>, _ dLogQ: UnsafeMutableBufferPointer<Double>, scale: Double,
  into gradient: UnsafeMutableBufferPointer<Float>
) {
  for i in q.indices { dLogQ[i] /= q[i] + GumbelDensity.epsilon }
  addThroughProbabilities(q, dLogQ, scale: scale, into: gradient)
}
