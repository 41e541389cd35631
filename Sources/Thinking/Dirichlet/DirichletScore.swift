import Kernels

// With a = alpha q, q = softmax(z / T) over the recorded ids, psi the digamma function:
//
//   simplex   log Gamma(alpha) - sum_i log Gamma(a_i) + sum_i (a_i - 1) log y_i
//   released  the mean over q_i > 0.05 of (a_i - 1) log gamma_i - gamma_i - log Gamma(a_i), each held to [-5, 3]
//
// Both have d/dq_i = alpha (value_i - psi(a_i)), the sum of a being alpha.

/// Constants of the authors' code.
private enum Released {
  static let bounds: ClosedRange<Double> = -5...3
  static let supportMinimum = 0.05
}

extension Dirichlet {
  func score(_ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>) {
    let values = draws(of: record)
    slots[0] = withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      softmax(logits, temperature: Double(truncation.temperature), into: q)
      var sum = density == .simplex ? PortableMath.logGamma(alpha) : 0
      var components = 0
      for i in q.indices where counts(q[i]) {
        let term = logDensity(q[i], values[i])
        sum +=
          density == .simplex
          ? term : term < Released.bounds.lowerBound ? -5 : term > Released.bounds.upperBound ? 3 : term
        components += 1
      }
      if density == .simplex { return Float(sum) }
      return Float(components == 0 ? 0 : sum / Double(components))
    }
  }

  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    let values = draws(of: record)
    differentiateComponents(logits, scale: Double(upstream[0]), into: gradient) { q, i in
      if density == .released, !Released.bounds.contains(logDensity(q[i], values[i])), !q[i].isNaN { return 0 }
      return alpha * (Double(values[i]) - PortableMath.digamma(alpha * q[i]))
    }
  }

  /// Of Dirichlet distributions of one concentration, and of independent Gamma distributions alike: the sum of
  /// log Gamma(b_i) - log Gamma(a_i) + (a_i - b_i) psi(a_i), b = alpha q_ref; reduced as the score is, its clamp ignored.
  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    withProbabilities(logits, reference: referenceLogits) { q, reference in
      var (sum, components) = (0.0, 0)
      for i in q.indices where counts(q[i]) {
        let (a, b) = (alpha * q[i], alpha * reference[i])
        sum += PortableMath.logGamma(b) - PortableMath.logGamma(a) + (a - b) * PortableMath.digamma(a)
        components += 1
      }
      if let gradient {
        differentiateComponents(logits, scale: Double(upstream), into: gradient) { q, i in
          alpha * alpha * (q[i] - reference[i]) * PortableMath.trigamma(alpha * q[i])
        }
      }
      if density == .simplex { return Float(sum) }
      return Float(components == 0 ? 0 : sum / Double(components))
    }
  }

  /// (a - 1) value - log Gamma(a), and of a Gamma density - gamma.
  private func logDensity(_ q: Double, _ value: Float) -> Double {
    let a = alpha * q
    let density = (a - 1) * Double(value) - PortableMath.logGamma(a)
    return self.density == .simplex ? density : density - PortableMath.exp(Double(value))
  }

  private func counts(_ q: Double) -> Bool {
    density == .simplex || q > Released.supportMinimum || q.isNaN
  }

  /// Adds `scale` times the gradient of the sum, or mean, over the components that count, of which `slope` gives the derivative
  /// with respect to q_i.
  private func differentiateComponents(
    _ logits: UnsafeBufferPointer<Float>, scale: Double, into gradient: UnsafeMutableBufferPointer<Float>,
    _ slope: (_ q: UnsafeMutableBufferPointer<Double>, _ i: Int) -> Double
  ) {
    differentiate(logits, scale: scale, into: gradient) { q, dQ in
      for i in q.indices { dQ[i] = counts(q[i]) ? slope(q, i) : 0 }
      let components = q.count { counts($0) }
      return density == .simplex ? min(1, Double(components)) : Double(components)
    }
  }
}
