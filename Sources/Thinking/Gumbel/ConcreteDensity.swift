import Kernels

/// The `concrete` density: the exact density of the truncated mixture that is fed.
///
///   log p = sum_S (log q_i - d_i) - n log A + log Gamma(n),   A = sum_S q_i e^(-d_i) + e^m sum_(not S) q_i
///
/// with S the n fed components, d_i = g'_i - g'_max <= 0 and m the cut margin. Fed components come first.
struct ConcreteDensity {
  /// T.
  let temperature: Double
  /// m.
  let cutMargin: Double

  /// Writes the logarithm of each component's summand in A to `terms` and returns log A.
  @inline(__always)
  private func logNormalizer(
    _ logits: UnsafeBufferPointer<Float>, _ logSum: Double, _ values: UnsafeBufferPointer<Float>,
    terms: UnsafeMutableBufferPointer<Double>
  ) -> Double {
    let largestLogit = Double(largestOf(logits))
    let margin = cutMargin
    var largest = -Double.infinity
    for i in logits.indices {
      let logQ = (Double(logits[i]) - largestLogit) / temperature - logSum
      let term = i < values.count ? logQ - (Double(values[i]) - Double(values[0])) : logQ + margin
      terms[i] = term
      if term > largest || term.isNaN { largest = term }
    }
    var sum = 0.0
    for i in logits.indices { sum += PortableMath.exp(terms[i] - largest) }
    return largest + PortableMath.log(sum)
  }

  func score(
    _ logits: UnsafeBufferPointer<Float>, _ logSum: Double, _ values: UnsafeBufferPointer<Float>
  ) -> Double {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { terms in
      let logA = logNormalizer(logits, logSum, values, terms: terms)
      var sum = PortableMath.logGamma(values.count)
      for i in 0..<values.count { sum += terms[i] - logA }
      return sum
    }
  }

  /// d/d(z_i / T) = [i in S] - n a_i, a_i = the component's share of A. The softmax's own shift drops out, because the
  /// derivatives with respect to log q sum to n - n = 0.
  func gradient(
    _ logits: UnsafeBufferPointer<Float>, _ logSum: Double, _ values: UnsafeBufferPointer<Float>,
    into gradient: UnsafeMutableBufferPointer<Double>
  ) {
    let logA = logNormalizer(logits, logSum, values, terms: gradient)
    let count = Double(values.count)
    for i in logits.indices {
      gradient[i] = (i < values.count ? 1 : 0) - count * PortableMath.exp(gradient[i] - logA)
    }
  }
}
