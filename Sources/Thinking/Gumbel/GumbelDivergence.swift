import Kernels

// - `reference`, `exact`: the step's components are independent Gumbel variables, so the divergence is exactly
//   e^D - 1 - D per component, D_i = (log q_ref,i - log q_theta,i) / nu, reduced as the density is: the mean over theta's
//   unmasked components (clamping is ignored; 0 when all are masked), or the sum.
// - `concrete`: the mixture's divergence has no closed form. What is returned is the categorical KL(q_theta || q_ref)
//   over the recorded ids: the divergence of the emitted token. By the data-processing inequality it is a *lower
//   bound*, exact as tau_g -> 0, while the component sum above is an upper bound. It has the same zero and the same
//   sign of gradient, and stays moderate where the component form explodes. For an unbiased estimate use k3 on the scores.
extension Gumbel {
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
        return latentDivergence(
          q, qReference, count: record.values.count, scale: Double(upstream) / temperature, into: dLogQ,
          addingGradientTo: gradient)
      }
      let divergence = componentDivergence(q, qReference, into: dLogQ)
      if let gradient { addThroughSoftmax(q, dLogQ, scale: Double(upstream) / temperature, into: gradient) }
      return Float(divergence)
    }
  }

  /// The mean of the component form over the fed components, without epsilon.
  private func latentDivergence(
    _ q: UnsafeMutableBufferPointer<Double>, _ qReference: UnsafeMutableBufferPointer<Double>, count: Int,
    scale: Double, into dLogQ: UnsafeMutableBufferPointer<Double>,
    addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    var (sum, total) = (0.0, 0.0)
    for i in q.indices {
      dLogQ[i] = 0
      guard i < count else { continue }
      let term = gumbelComponentKL(
        logQ: PortableMath.log(q[i]), logQReference: PortableMath.log(qReference[i]), noiseScale: Double(noiseScale))
      sum += term.value / Double(count)
      dLogQ[i] = term.slope / Double(count)
      total += dLogQ[i]
    }
    if let gradient {
      for i in q.indices { gradient[i] += Float(scale * (dLogQ[i] - q[i] * total)) }
    }
    return Float(sum)
  }

  /// The component form; `dLogQ` receives its derivative with respect to log q_theta, (1 - e^D) / nu.
  private func componentDivergence(
    _ q: UnsafeMutableBufferPointer<Double>, _ qReference: UnsafeMutableBufferPointer<Double>,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) -> Double {
    let scale = Double(noiseScale)
    let masks = density == .reference
    var sum = 0.0
    var components = 0
    for i in q.indices {
      dLogQ[i] = 0
      let logQ = PortableMath.log(q[i] + GumbelDensity.epsilon)
      if masks && logQ <= GumbelDensity.maskLogProb { continue }
      components += 1
      let term = gumbelComponentKL(
        logQ: logQ, logQReference: PortableMath.log(qReference[i] + GumbelDensity.epsilon), noiseScale: scale)
      sum += term.value
      dLogQ[i] = term.slope
    }
    guard masks else { return sum }
    guard components > 0 else { return 0 }
    for i in q.indices { dLogQ[i] /= Double(components) }
    return sum / Double(components)
  }
}

/// KL(Gumbel(log q, nu) || Gumbel(log q_ref, nu)) of one component, e^D - 1 - D with D = (log q_ref - log q) / nu, and its derivative
/// with respect to log q, (1 - e^D) / nu.
@inline(__always)
func gumbelComponentKL(logQ: Double, logQReference: Double, noiseScale: Double) -> (value: Double, slope: Double) {
  let difference = (logQReference - logQ) / noiseScale
  let ratio = PortableMath.exp(difference)
  return (ratio - 1 - difference, (1 - ratio) / noiseScale)
}

/// The component form of the divergence on component log-probs themselves: the mean or the sum over the components that count, and its
/// derivative with respect to each log q.
///
/// - Parameters:
///   - logQ: shape (k), as log(q + epsilon) where the density has one.
///   - support: the components that count.
///   - averages: the mean (`reference`) instead of the sum (`exact`).
public func gumbelStepKL(
  logQ: [Double], logQReference: [Double], support: [Bool], noiseScale: Double, averages: Bool
) -> (value: Double, gradient: [Double]) {
  precondition(logQ.count == logQReference.count && logQ.count == support.count, "gumbelStepKL: lists are not parallel")
  let count = averages ? Double(support.count { $0 }) : 1
  var (value, gradient) = (0.0, [Double](repeating: 0, count: logQ.count))
  for i in logQ.indices where support[i] {
    let term = gumbelComponentKL(logQ: logQ[i], logQReference: logQReference[i], noiseScale: noiseScale)
    value += term.value / count
    gradient[i] = term.slope / count
  }
  return (value, gradient)
}
