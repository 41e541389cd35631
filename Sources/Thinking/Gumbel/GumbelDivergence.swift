import Kernels

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
