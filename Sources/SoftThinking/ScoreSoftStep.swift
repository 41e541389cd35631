import Kernels

/// Log-density of a recorded soft step under parameters that give these logits (DESIGN 1.1).
///
/// `logits`, shape (r), belong to the recorded ids in recorded order; `values`, shape (n), are the recorded g', n <= r
/// (n < r only under `concrete`). log q = log(softmax(logits / T) + 1e-6) over the recorded ids, without epsilon under
/// `concrete`. A `reference` step none of whose components passes the mask scores 0, without gradient. Kind `none` scores
/// 0. NaN in gives NaN out.
///
/// - Precondition: 1 <= n <= r, and n = r unless the density is `concrete`.
public func scoreSoftStep(
  logits: UnsafeBufferPointer<Float>, values: UnsafeBufferPointer<Float>, policy: ThinkingPolicy
) -> Float {
  guard policy.kind == .gumbel else { return 0 }
  checkShapes(logits.count, values.count, policy)
  return withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
    let logSum = softmax(logits, temperature: Double(policy.temperature), into: q)
    switch policy.density {
    case .reference: return Float(referenceScore(q, values, policy))
    case .exact: return Float(exactScore(q, values, policy))
    case .concrete: return Float(concreteScore(logits, logSum, values, policy))
    }
  }
}

/// Gradient of `scoreSoftStep` with respect to the logits, times `upstream`, *added* to `gradient`, shape (r).
///
/// - Precondition: as `scoreSoftStep`; `gradient` holds at least r entries.
public func softStepGradient(
  logits: UnsafeBufferPointer<Float>, values: UnsafeBufferPointer<Float>, policy: ThinkingPolicy, upstream: Float,
  into gradient: UnsafeMutableBufferPointer<Float>
) {
  guard policy.kind == .gumbel else { return }
  checkShapes(logits.count, values.count, policy)
  precondition(gradient.count >= logits.count, "softStepGradient: output buffer too short")
  let count = logits.count
  withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * count) { scratch in
    let q = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
    let dLogQ = UnsafeMutableBufferPointer(rebasing: scratch[count...])
    let logSum = softmax(logits, temperature: Double(policy.temperature), into: q)
    let scale = Double(upstream) / Double(policy.temperature)
    switch policy.density {
    case .reference:
      referenceGradient(q, values, policy, into: dLogQ)
      addThroughSoftmax(q, dLogQ, scale: scale, into: gradient)
    case .exact:
      exactGradient(q, values, policy, into: dLogQ)
      addThroughSoftmax(q, dLogQ, scale: scale, into: gradient)
    case .concrete:
      concreteGradient(logits, logSum, values, policy, into: dLogQ)
      for i in 0..<count { gradient[i] += Float(scale * dLogQ[i]) }
    }
  }
}

private func checkShapes(_ logits: Int, _ values: Int, _ policy: ThinkingPolicy) {
  precondition(values >= 1 && values <= logits, "a soft step needs 1 to \(logits) values, not \(values)")
  precondition(
    values == logits || policy.density == .concrete, "only the concrete density records fewer values than ids")
}

/// q = softmax(logits / T) in recorded order; returns log(sum exp((z - z_max) / T)).
@discardableResult
func softmax(
  _ logits: UnsafeBufferPointer<Float>, temperature: Double, into q: UnsafeMutableBufferPointer<Double>
) -> Double {
  let largest = Double(largestOf(logits))
  var sum = 0.0
  for i in 0..<logits.count {
    let term = PortableMath.exp((Double(logits[i]) - largest) / temperature)
    q[i] = term
    sum += term
  }
  for i in 0..<logits.count { q[i] /= sum }
  return PortableMath.log(sum)
}

func largestOf(_ logits: UnsafeBufferPointer<Float>) -> Float {
  var largest = logits[0]
  for logit in logits where logit > largest { largest = logit }
  return largest
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
