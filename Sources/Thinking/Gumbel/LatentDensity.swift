import Kernels

/// The `latent` density, as in Latent-GRPO's code (2604.27998): the mean over the k fed components of -u - e^(-u) with
/// u = (g' - log q) / nu, log q over all recorded ids (the code: over the vocabulary). No clamp, no mask.
///
/// Its gradient is another function's where the loss wants the density lower (A <= 0, seen in the sign of the upstream gradient) and
/// u < 0: there the code differentiates u - e^u, whose derivative with respect to log q, e^u - 1, has the sign of 1 - e^(-u) but is
/// bounded. The paper calls it a flip; the code's value is the density all the same.
struct LatentDensity {
  /// nu.
  let noiseScale: Float

  func score(_ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>) -> Double {
    var sum = 0.0
    for i in values.indices {
      let u = (Double(values[i]) - PortableMath.log(q[i])) / Double(noiseScale)
      sum += -u - PortableMath.exp(-u)
    }
    return sum / Double(values.count)
  }

  /// - Parameter isToFall: whether the loss wants the density lower.
  /// - Parameter dLogQ: overwritten; 0 for components that are not fed.
  func gradient(
    _ q: UnsafeMutableBufferPointer<Double>, _ values: UnsafeBufferPointer<Float>, isToFall: Bool,
    into dLogQ: UnsafeMutableBufferPointer<Double>
  ) {
    let (scale, count) = (Double(noiseScale), Double(values.count))
    for i in q.indices {
      guard i < values.count else {
        dLogQ[i] = 0
        continue
      }
      let u = (Double(values[i]) - PortableMath.log(q[i])) / scale
      let slope = isToFall && u < 0 ? PortableMath.exp(u) - 1 : 1 - PortableMath.exp(-u)
      dLogQ[i] = slope / (scale * count)
    }
  }

  /// The mean of the component form over the fed components, without epsilon.
  func divergence(
    _ q: UnsafeMutableBufferPointer<Double>, _ qReference: UnsafeMutableBufferPointer<Double>, count: Int,
    scale: Double, into dLogQ: UnsafeMutableBufferPointer<Double>,
    addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    var (sum, total) = (0.0, 0.0)
    for i in q.indices {
      dLogQ[i] = 0
      guard i < count else { continue }
      let term = gumbelComponentKL(
        logQ: PortableMath.log(q[i]), logQReference: PortableMath.log(qReference[i]), noiseScale: Double(noiseScale))
      sum += term.value / Double(count)
      dLogQ[i] = term.slope / Double(count)
      total += dLogQ[i]
    }
    if let gradient {
      for i in q.indices { gradient[i] += Float(scale * (dLogQ[i] - q[i] * total)) }
    }
    return Float(sum)
  }
}
