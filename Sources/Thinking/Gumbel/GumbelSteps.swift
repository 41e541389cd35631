import Kernels

// The score of a recorded step, its gradient and its divergence from a reference.
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
      case .reference, .exact: return Float(componentDensity.score(q, record.values))
      case .concrete: return Float(concreteDensity.score(logits, logSum, record.values))
      case .latent: return Float(latentDensity.score(q, record.values))
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
      case .reference, .exact:
        componentDensity.gradient(q, values, into: dLogQ)
        addThroughSoftmax(q, dLogQ, scale: scale, into: gradient)
      case .latent:
        latentDensity.gradient(q, values, isToFall: upstream[0] >= 0, into: dLogQ)
        // d(log q_i) = dz_i - sum_j q_j dz_j.
        let total = dLogQ.reduce(0, +)
        for i in 0..<count { gradient[i] += Float(scale * (dLogQ[i] - q[i] * total)) }
      case .concrete:
        concreteDensity.gradient(logits, logSum, values, into: dLogQ)
        for i in 0..<count { gradient[i] += Float(scale * dLogQ[i]) }
      }
    }
  }

  /// - `reference`, `exact`: the step's components are independent Gumbel variables, so the divergence is exactly
  ///   e^D - 1 - D per component, D_i = (log q_ref,i - log q_theta,i) / nu, reduced as the density is: the mean over theta's
  ///   unmasked components (clamping is ignored; 0 when all are masked), or the sum.
  /// - `concrete`: the mixture's divergence has no closed form. What is returned is the categorical KL(q_theta || q_ref)
  ///   over the recorded ids: the divergence of the emitted token. By the data-processing inequality it is a *lower
  ///   bound*, exact as tau_g -> 0, while the component sum above is an upper bound. It has the same zero and the same
  ///   sign of gradient, and stays moderate where the component form explodes. For an unbiased estimate use k3 on the scores.
  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    let temperature = Double(truncation.temperature)
    if density == .concrete {
      return categoricalDivergence(
        logits: logits, referenceLogits: referenceLogits, temperature: temperature, upstream: upstream,
        addingGradientTo: gradient)
    }
    let count = logits.count
    precondition(
      count > 0 && referenceLogits.count == count, "a divergence of \(count) and \(referenceLogits.count) logits")
    precondition(gradient.map { $0.count >= count } ?? true, "a divergence's output buffer is too short")
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: 3 * count) { scratch in
      let q = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
      let qReference = UnsafeMutableBufferPointer(rebasing: scratch[count..<2 * count])
      let dLogQ = UnsafeMutableBufferPointer(rebasing: scratch[(2 * count)...])
      softmax(logits, temperature: temperature, into: q)
      softmax(referenceLogits, temperature: temperature, into: qReference)
      if density == .latent {
        return latentDensity.divergence(
          q, qReference, count: record.values.count, scale: Double(upstream) / temperature, into: dLogQ,
          addingGradientTo: gradient)
      }
      let divergence = componentDensity.divergence(q, qReference, into: dLogQ)
      if let gradient { addThroughSoftmax(q, dLogQ, scale: Double(upstream) / temperature, into: gradient) }
      return Float(divergence)
    }
  }

  private var componentDensity: ComponentDensity {
    ComponentDensity(noiseScale: noiseScale, isReference: density == .reference)
  }
  private var latentDensity: LatentDensity { LatentDensity(noiseScale: noiseScale) }
  private var concreteDensity: ConcreteDensity {
    ConcreteDensity(temperature: Double(truncation.temperature), cutMargin: cutMargin)
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
