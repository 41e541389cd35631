import Kernels

/// Mixture weights of a step's fed components from its recorded values: y = softmax(g' / tau_g), shape (n).
///
/// For kind `none` the recorded values are log q and the weights q = softmax(values). The sampler calls this same function,
/// so that an input rebuilt from the record has the bits of the one that was fed. Sums run in recorded order, in double
/// precision; each weight is rounded once.
///
/// - Precondition: `weights` holds at least `values.count` entries.
public func mixtureWeights(
  values: UnsafeBufferPointer<Float>, policy: ThinkingPolicy, into weights: UnsafeMutableBufferPointer<Float>
) {
  let count = values.count
  precondition(weights.count >= count, "mixtureWeights: output buffer too short")
  guard count > 0 else { return }
  let temperature = policy.kind == .none ? 1 : Double(policy.gumbelTemperature)
  var largest = values[0]
  for value in values where value > largest { largest = value }
  withUnsafeTemporaryAllocation(of: Double.self, capacity: count) { terms in
    var sum = 0.0
    for i in 0..<count {
      let term = PortableMath.exp((Double(values[i]) - Double(largest)) / temperature)
      terms[i] = term
      sum += term
    }
    for i in 0..<count { weights[i] = Float(terms[i] / sum) }
  }
}
