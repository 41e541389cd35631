import Kernels

/// -u - exp(-u): log-density of the standard Gumbel distribution.
@inline(__always)
private func logDensity(_ u: Double) -> Double { -u - PortableMath.exp(-u) }

/// True strictly between the clamp's edges, where the reference density has a gradient.
@inline(__always)
private func isInside(_ u: Double) -> Bool {
  u > GumbelDensity.clamp.lowerBound + GumbelDensity.edge && u < GumbelDensity.clamp.upperBound - GumbelDensity.edge
}

/// The `reference` and `exact` densities: independent Gumbel components around log q.
struct ComponentDensity {
  /// nu.
  let noiseScale: Float
  /// `reference`: the mean over the components that pass the mask, clamped; else `exact`.
  let isReference: Bool

  /// Of a step whose renormalised probabilities are `q`.
  func score(_ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>) -> Double {
    isReference ? referenceScore(q, values) : exactScore(q, values)
  }

  /// Overwrites `dLogQ` with the score's derivative with respect to each log q.
  func gradient(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) {
    if isReference { referenceGradient(q, values, into: dLogQ) } else { exactGradient(q, values, into: dLogQ) }
  }

  /// `reference`: mean of -u - exp(-u), u clamped to [-1.5, 3], over the components with log q > -3; 0 when there is none.
  private func referenceScore(
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
  private func referenceGradient(
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
  private func exactScore(
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
  private func exactGradient(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) {
    let scale = Double(noiseScale)
    for i in q.indices {
      let logQ = PortableMath.log(q[i] + GumbelDensity.epsilon)
      dLogQ[i] = (1 - PortableMath.exp(-(Double(values[i]) - logQ) / scale)) / scale
    }
  }

  /// The component form; `dLogQ` receives its derivative with respect to log q_theta, (1 - e^D) / nu.
  func divergence(
    _ q: UnsafeMutableBufferPointer<Double>, _ qReference: UnsafeMutableBufferPointer<Double>,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) -> Double {
    let scale = Double(noiseScale)
    let masks = isReference
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
