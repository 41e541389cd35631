import Kernels

// Draws a step: g' = log q + nu eps for every candidate, in double precision; g' is rounded to `Float` once.
//
// - `reference`: all k components are recorded, removed ones at log(1e-6); the noise is clamped to [-1.5, 3].
// - `exact`: the survivors of top-k, top-p and min-p are recorded, g' = log(q + 1e-6) + nu eps.
// - `concrete`: g' = log q + eps; the survivors' ids are recorded, the values of the fed components only.
// - `latent`: g' = log q + nu eps; the survivors' ids are recorded, the values of the `top_k` fed components only.
//
// Components are stored by g', largest first, ties by id: the fed ones come first.
extension Gumbel {
  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep
  ) throws {
    try truncation.load(tokenIDs, logits, into: &step.order)
    if density != .reference { step.order.removeAll { $0.probability <= 0 } }
    for i in step.order.indices { step.order[i].value = value(of: step.order[i], noise) }
    sort(&step.order) { $0.value != $1.value ? $0.value > $1.value : $0.tokenID < $1.tokenID }

    step.removeRecord()
    let lowest = Double(step.order[0].value) - cutMargin
    for component in step.order {
      step.tokenIDs.append(component.tokenID)
      step.logits.append(component.logit)
      let isFed =
        switch density {
        case .reference, .exact: true
        case .concrete: Double(component.value) >= lowest
        case .latent: step.values.count < topK
        }
      if isFed { step.values.append(component.value) }
    }
    step.complete(by: self)
  }

  /// g' of a component.
  private func value(of component: SoftStep.Component, _ noise: StepNoise) -> Float {
    let q = component.probability
    let epsilon = clampedNoise(component.tokenID, noise)
    let logQ = hasEpsilon ? PortableMath.log(q + GumbelDensity.epsilon) : PortableMath.log(q)
    return Float(logQ + Double(noiseScale) * epsilon)
  }

  var hasEpsilon: Bool { density == .reference || density == .exact }

  /// The noise as it is added: clamped under `reference`, clamped and raised where it is one-sided.
  func clampedNoise(_ tokenID: Int32, _ noise: StepNoise) -> Double {
    let epsilon = Double(noise.gumbel(tokenID))
    guard density == .reference || self.noise == .oneSided else { return epsilon }
    let clamped = min(max(epsilon, GumbelDensity.clamp.lowerBound), GumbelDensity.clamp.upperBound)
    return self.noise == .oneSided ? clamped - GumbelDensity.clamp.lowerBound : clamped
  }

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
