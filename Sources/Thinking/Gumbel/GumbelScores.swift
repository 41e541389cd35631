import Kernels

// The `reference` and `exact` densities: independent Gumbel components around log q.

/// -u - exp(-u): log-density of the standard Gumbel distribution.
@inline(__always)
private func logDensity(_ u: Double) -> Double { -u - PortableMath.exp(-u) }

/// True strictly between the clamp's edges, where the reference density has a gradient.
@inline(__always)
private func isInside(_ u: Double) -> Bool {
  u > GumbelDensity.clamp.lowerBound + GumbelDensity.edge && u < GumbelDensity.clamp.upperBound - GumbelDensity.edge
}

extension Gumbel {
  /// `reference`: mean of -u - exp(-u), u clamped to [-1.5, 3], over the components with log q > -3; 0 when there is none.
  func referenceScore(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>
  ) -> Double {
    var sum = 0.0
    var unmasked = 0
    for i in q.indices {
      let logQ = PortableMath.log(q[i] + GumbelDensity.epsilon)
      // A NaN is neither above nor below the mask and must not vanish with it.
      if logQ <= GumbelDensity.maskLogProb { continue }
      let u = (Double(values[i]) - logQ) / Double(noiseScale)
      sum += logDensity(u < GumbelDensity.clamp.lowerBound ? -1.5 : u > GumbelDensity.clamp.upperBound ? 3 : u)
      unmasked += 1
    }
    return unmasked == 0 ? 0 : sum / Double(unmasked)
  }

  /// d/dlog q_i = (1 - exp(-u_i)) / (nu n) on unmasked components inside the clamp, 0 elsewhere.
  func referenceGradient(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) {
    let scale = Double(noiseScale)
    var unmasked = 0
    for i in q.indices {
      dLogQ[i] = 0
      let logQ = PortableMath.log(q[i] + GumbelDensity.epsilon)
      if logQ <= GumbelDensity.maskLogProb { continue }
      unmasked += 1
      let u = (Double(values[i]) - logQ) / scale
      if isInside(u) || u.isNaN { dLogQ[i] = (1 - PortableMath.exp(-u)) / scale }
    }
    guard unmasked > 0 else { return }
    for i in q.indices { dLogQ[i] /= Double(unmasked) }
  }

  /// `exact`: sum of -u - exp(-u) over the recorded components; no clamp, no mask.
  func exactScore(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>
  ) -> Double {
    var sum = 0.0
    for i in q.indices {
      let logQ = PortableMath.log(q[i] + GumbelDensity.epsilon)
      sum += logDensity((Double(values[i]) - logQ) / Double(noiseScale))
    }
    return sum
  }

  /// d/dlog q_i = (1 - exp(-u_i)) / nu.
  func exactGradient(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) {
    let scale = Double(noiseScale)
    for i in q.indices {
      let logQ = PortableMath.log(q[i] + GumbelDensity.epsilon)
      dLogQ[i] = (1 - PortableMath.exp(-(Double(values[i]) - logQ) / scale)) / scale
    }
  }
}
