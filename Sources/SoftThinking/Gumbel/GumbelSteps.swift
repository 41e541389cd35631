import Kernels

// The score of a recorded step and its gradient.
//
// log q = log(softmax(logits / T) + 1e-6) over the recorded ids, without epsilon under `concrete`. A `reference` step none of
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
      case .concrete:
        concreteGradient(logits, logSum, values, into: dLogQ)
        for i in 0..<count { gradient[i] += Float(scale * dLogQ[i]) }
      }
    }
  }

  private func checkShapes(_ record: StepRecord, _ logits: Int) {
    let values = record.values.count
    precondition(values >= 1 && values <= logits, "a soft step needs 1 to \(logits) values, not \(values)")
    precondition(values == logits || density == .concrete, "only the concrete density records fewer values than ids")
  }
}

/// Inverts log q = log(softmax(z / T) + 1e-6): dz_j += scale q_j (h_j - sum_i h_i q_i), h_i = dlogq_i / (q_i + 1e-6).
func addThroughSoftmax(
  _ q: UnsafeMutableBufferPointer<Double>, _ dLogQ: UnsafeMutableBufferPointer<Double>, scale: Double,
  into gradient: UnsafeMutableBufferPointer<Float>
) {
  var mean = 0.0
  for i in q.indices {
    dLogQ[i] /= q[i] + GumbelDensity.epsilon
    mean += dLogQ[i] * q[i]
  }
  for i in q.indices { gradient[i] += Float(scale * q[i] * (dLogQ[i] - mean)) }
}
