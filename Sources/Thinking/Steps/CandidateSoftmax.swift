import Kernels

// Softmax over the recorded ids, in recorded order and double precision.

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

/// Inverts q = softmax(z): dz_j += scale q_j (h_j - sum_i h_i q_i), h the derivative with respect to q.
func addThroughProbabilities(
  _ q: UnsafeMutableBufferPointer<Double>, _ dQ: UnsafeMutableBufferPointer<Double>, scale: Double,
  into gradient: UnsafeMutableBufferPointer<Float>
) {
  var mean = 0.0
  for i in q.indices { mean += dQ[i] * q[i] }
  for i in q.indices { gradient[i] += Float(scale * q[i] * (dQ[i] - mean)) }
}

func largestOf(_ logits: UnsafeBufferPointer<Float>) -> Float {
  var largest = logits[0]
  for logit in logits where logit > largest { largest = logit }
  return largest
}

/// KL(q_theta || q_ref) of the categorical distributions over the recorded ids; `upstream` times its derivative with respect to
/// `logits` is *added* to `gradient`.
func categoricalDivergence(
  logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>, temperature: Double, upstream: Float,
  addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
) -> Float {
  let count = logits.count
  precondition(
    count > 0 && referenceLogits.count == count, "a divergence of \(count) and \(referenceLogits.count) logits")
  precondition(gradient.map { $0.count >= count } ?? true, "a divergence's output buffer is too short")
  return withUnsafeTemporaryAllocation(of: Double.self, capacity: 2 * count) { scratch in
    let q = UnsafeMutableBufferPointer(rebasing: scratch[..<count])
    let difference = UnsafeMutableBufferPointer(rebasing: scratch[count...])
    // The reference's probabilities are not needed, only its normaliser.
    let logSumReference = softmax(referenceLogits, temperature: temperature, into: q)
    let logSum = softmax(logits, temperature: temperature, into: q)
    let scale = Double(upstream) / temperature
    let shift = Double(largestOf(logits)) / temperature + logSum
    let shiftReference = Double(largestOf(referenceLogits)) / temperature + logSumReference
    var divergence = 0.0
    for i in 0..<count where q[i] > 0 || q[i].isNaN {
      difference[i] =
        Double(logits[i]) / temperature - shift - (Double(referenceLogits[i]) / temperature - shiftReference)
      divergence += q[i] * difference[i]
    }
    if let gradient {
      for i in 0..<count where q[i] > 0 || q[i].isNaN {
        gradient[i] += Float(scale * q[i] * (difference[i] - divergence))
      }
    }
    return Float(divergence)
  }
}
