import Kernels

extension Gumbel {
  /// - `reference`, `exact`: sum over the recorded components of exp(g' - nu eps) - 1e-6, less 1, with eps as it was used
  ///   (clamped under `reference`). Zero up to rounding, about 1e-6 per component, for an honest record.
  /// - `concrete`: the cut components' values are not recorded; all that is known is g'_j < g'_max - m. The fed components
  ///   contribute exactly exp(g'_i - eps_i) = q_i (there is no epsilon), a cut one something in (0, exp(g'_max - m - eps_j)).
  ///   The residual is the signed distance of 1 from the interval these bounds allow: 0 inside it. With nothing cut this is
  ///   the plain identity.
  /// - `latent`: the same, the components that are not fed having g'_j at most the smallest fed one.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double {
    let (ids, values) = (record.ids, record.values)
    let count = min(ids.count, values.count)
    guard count > 0 else { return .nan }
    var sum = 0.0
    let hasBounds = !hasEpsilon
    for i in 0..<count {
      let epsilon = Double(noiseScale) * clampedNoise(ids[i], noise)
      sum += PortableMath.exp(Double(values[i]) - epsilon) - (hasEpsilon ? GumbelDensity.epsilon : 0)
    }
    guard hasBounds, ids.count > count else { return sum - 1 }
    let edge = density == .concrete ? Double(values[0]) - cutMargin : Double(values[count - 1])
    var upper = sum
    for i in count..<ids.count {
      upper += PortableMath.exp(edge - Double(noiseScale) * clampedNoise(ids[i], noise))
    }
    if sum > 1 { return sum - 1 }
    return upper < 1 ? upper - 1 : sum.isNaN || upper.isNaN ? .nan : 0
  }
}
