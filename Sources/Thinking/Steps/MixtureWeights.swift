import Kernels

/// y = softmax(values / temperature), shape (n), sum 1. Sums run in recorded order, in double precision; each weight is rounded
/// once.
///
/// - Precondition: `weights` holds at least n entries.
@inline(__always)
func softmaxWeights(
  _ values: UnsafeBufferPointer<Float>, temperature: Double, into weights: UnsafeMutableBufferPointer<Float>
) {
  let count = values.count
  precondition(weights.count >= count, "softmaxWeights: output buffer too short")
  guard count > 0 else { return }
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
