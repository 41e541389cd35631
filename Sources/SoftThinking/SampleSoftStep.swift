import Kernels

/// Samples one soft step from the k logits of its candidates (DESIGN 1.1). Thinking kinds `gumbel` and `none`.
///
/// `tokenIDs` are the top-k ids of the full logits, in any order; `logits`, shape (k), are computed for exactly these ids by
/// the kernel that will compute them again when the step is scored. Top-p and min-p are applied here, over the k.
/// Arithmetic is in double precision and in a fixed order; g' is rounded to `Float` once.
///
/// - `gumbel`, `reference`: all k components are recorded, removed ones at log(1e-6); the noise is clamped to [-1.5, 3].
/// - `gumbel`, `exact`: the survivors are recorded, g' = log(q + 1e-6) + nu eps.
/// - `gumbel`, `concrete`: g' = log q + eps; the survivors' ids are recorded, the values of the fed components only.
/// - `none`: the survivors sorted by q; values are log q, weights q, no noise is drawn, log-prob 0.
///
/// - Throws: `SoftThinkingError` when a logit is NaN or +infinity, all are -infinity, the shapes differ or are empty, or the
///   policy's kind is `discrete` (use `sampleDiscreteToken`).
public func sampleSoftStep(
  tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, policy: ThinkingPolicy, noise: StepNoise,
  into step: inout SoftStep
) throws {
  guard policy.kind != .discrete else {
    throw SoftThinkingError("sampleSoftStep: thinking kind 'discrete' has no soft steps; use sampleDiscreteToken")
  }
  guard tokenIDs.count == logits.count, !tokenIDs.isEmpty else {
    throw SoftThinkingError("sampleSoftStep: \(tokenIDs.count) token ids but \(logits.count) logits")
  }
  try loadComponents(tokenIDs, logits, &step)
  truncate(&step.order, policy)

  let recordsAll = policy.kind == .gumbel && policy.density == .reference
  if !recordsAll { step.order.removeAll { $0.probability <= 0 } }
  step.entropy = entropy(step.order)

  for i in step.order.indices {
    let component = step.order[i]
    step.order[i].value = value(of: component, policy, noise)
  }
  sort(&step.order) { $0.value != $1.value ? $0.value > $1.value : $0.tokenID < $1.tokenID }
  fill(&step, policy)
}

/// Candidates sorted by logit, largest first, ties by id, with the softmax at temperature 1 still to come.
private func loadComponents(
  _ tokenIDs: UnsafeBufferPointer<Int32>, _ logits: UnsafeBufferPointer<Float>, _ step: inout SoftStep
) throws {
  step.order.removeAll(keepingCapacity: true)
  var hasFinite = false
  for i in 0..<logits.count {
    let logit = logits[i]
    guard !logit.isNaN, logit != .infinity else {
      throw SoftThinkingError(
        "sampleSoftStep: the logit of token \(tokenIDs[i]) is \(logit.isNaN ? "NaN" : "infinite"); "
          + "the model's weights or activations have overflowed")
    }
    hasFinite = hasFinite || logit.isFinite
    step.order.append(.init(tokenID: tokenIDs[i], logit: logit, probability: 0, value: 0))
  }
  guard hasFinite else { throw SoftThinkingError("sampleSoftStep: every candidate's logit is -infinity") }
  sort(&step.order) { $0.logit != $1.logit ? $0.logit > $1.logit : $0.tokenID < $1.tokenID }
}

/// q: softmax at the policy's temperature, then top-p (kept while the cumulative probability before is <= top_p), then
/// min-p, renormalised after each. Removed components get probability 0.
private func truncate(_ order: inout [SoftStep.Component], _ policy: ThinkingPolicy) {
  let largest = Double(order[0].logit)
  for i in order.indices {
    order[i].probability = PortableMath.exp((Double(order[i].logit) - largest) / Double(policy.temperature))
  }
  renormalize(&order)
  if policy.topP < 1 {
    var before = 0.0
    for i in order.indices {
      let probability = order[i].probability
      if before > Double(policy.topP) { order[i].probability = 0 }
      before += probability
    }
    renormalize(&order)
  }
  if policy.minP > 0 {
    let threshold = order[0].probability * Double(policy.minP)
    for i in order.indices where order[i].probability < threshold { order[i].probability = 0 }
    renormalize(&order)
  }
}

private func renormalize(_ order: inout [SoftStep.Component]) {
  var sum = 0.0
  for component in order { sum += component.probability }
  for i in order.indices { order[i].probability /= sum }
}

private func entropy(_ order: [SoftStep.Component]) -> Float {
  var sum = 0.0
  for component in order where component.probability > 0 {
    sum -= component.probability * PortableMath.log(component.probability)
  }
  return Float(sum)
}

/// g' of a component (log q for `none`).
private func value(of component: SoftStep.Component, _ policy: ThinkingPolicy, _ noise: StepNoise) -> Float {
  let q = component.probability
  if policy.kind == .none { return Float(PortableMath.log(q)) }
  let epsilon = clampedNoise(component.tokenID, policy, noise)
  let logQ = policy.density == .concrete ? PortableMath.log(q) : PortableMath.log(q + GumbelDensity.epsilon)
  return Float(logQ + Double(policy.noiseScale) * epsilon)
}

/// The noise as the density uses it: clamped under `reference`.
func clampedNoise(_ tokenID: Int32, _ policy: ThinkingPolicy, _ noise: StepNoise) -> Double {
  let epsilon = Double(noise.gumbel(tokenID))
  guard policy.density == .reference else { return epsilon }
  return min(max(epsilon, GumbelDensity.clamp.lowerBound), GumbelDensity.clamp.upperBound)
}

/// Insertion sort: k is small and the candidates arrive almost in order.
private func sort(_ order: inout [SoftStep.Component], by precedes: (SoftStep.Component, SoftStep.Component) -> Bool) {
  guard order.count <= 64 else { return order.sort(by: precedes) }
  for i in order.indices.dropFirst() {
    let moving = order[i]
    var slot = i
    while slot > 0 && precedes(moving, order[slot - 1]) {
      order[slot] = order[slot - 1]
      slot -= 1
    }
    order[slot] = moving
  }
}

/// Record, mixture weights and log-density from the sorted components.
private func fill(_ step: inout SoftStep, _ policy: ThinkingPolicy) {
  step.tokenIDs.removeAll(keepingCapacity: true)
  step.logits.removeAll(keepingCapacity: true)
  step.values.removeAll(keepingCapacity: true)
  step.weights.removeAll(keepingCapacity: true)
  let cuts = policy.kind == .gumbel && policy.density == .concrete
  let lowest = Double(step.order[0].value) - policy.cutMargin
  for component in step.order {
    step.tokenIDs.append(component.tokenID)
    step.logits.append(component.logit)
    if !cuts || Double(component.value) >= lowest {
      step.values.append(component.value)
      step.weights.append(0)
    }
  }
  step.values.withUnsafeBufferPointer { values in
    step.weights.withUnsafeMutableBufferPointer { mixtureWeights(values: values, policy: policy, into: $0) }
    step.logProb = step.logits.withUnsafeBufferPointer { scoreSoftStep(logits: $0, values: values, policy: policy) }
  }
}
