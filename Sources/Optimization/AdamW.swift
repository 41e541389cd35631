import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// AdamW with decoupled weight decay (arXiv 1711.05101), step for step as `torch.optim.AdamW` on the CPU.
///
/// Hyper-parameters are Double, as Python's are; scalars are derived in Double and rounded to Float once, where torch does.
public struct AdamW: Sendable, Equatable, Hashable, Codable {
  public var learningRate: Double
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  /// Applied to every tensor.
  public var weightDecay: Double

  public init(
    learningRate: Double = 1e-6, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
    weightDecay: Double = 0.01
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  /// One fused step over `range` of flat buffers of equal length; elements are independent, so threads may take slices.
  ///
  ///     g = gradientScale * gradient
  ///     p *= 1 - lr * decay
  ///     m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g^2
  ///     p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
  ///
  /// - Parameters:
  ///   - step: t, counted from 1.
  ///   - gradientScale: the clip factor, folded in.
  ///   - master: fp32 weights, updated.
  ///   - firstMoment: m, updated.
  ///   - secondMoment: v, updated.
  ///   - weights: receives `master` rounded to bfloat16 (nearest even), when given.
  public func update(
    step: Int, gradientScale: Float = 1, range: Range<Int>,
    master: UnsafeMutableBufferPointer<Float>, gradient: UnsafeBufferPointer<Float>,
    firstMoment: UnsafeMutableBufferPointer<Float>, secondMoment: UnsafeMutableBufferPointer<Float>,
    weights: UnsafeMutableBufferPointer<BFloat16>? = nil
  ) {
    precondition(step >= 1, "AdamW counts steps from 1")
    let count = master.count
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count && gradient.count == count && firstMoment.count == count
        && secondMoment.count == count && (weights == nil || weights?.count == count),
      "AdamW buffers must have equal lengths and hold the range")
    guard !range.isEmpty, let p = master.baseAddress, let g = gradient.baseAddress, let m = firstMoment.baseAddress,
      let v = secondMoment.baseAddress
    else { return }
    let scalars = Scalars(self, step: step, gradientScale: gradientScale)
    let w = weights?.baseAddress
    var index = range.lowerBound
    // Eight lanes by hand: five pointers are more than the vectoriser proves disjoint. No lane reads another, so the
    // scalar tail gives the bits the vector body would.
    while index + 8 <= range.upperBound {
      let updated = scalars.apply(load(p + index), load(g + index), m + index, v + index)
      store(updated, p + index)
      if let w {
        let bits = unsafeBitCast(updated, to: SIMD8<UInt32>.self)
        let rounded = (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16
        let isNaN = updated .!= updated
        let halves = rounded.replacing(with: (bits &>> 16) | 0x0040, where: isNaN)
        UnsafeMutableRawPointer(w + index).storeBytes(
          of: SIMD8<UInt16>(truncatingIfNeeded: halves), as: SIMD8<UInt16>.self)
      }
      index += 8
    }
    while index < range.upperBound {
      let updated = scalars.apply(p[index], g[index], &m[index], &v[index])
      p[index] = updated
      w?[index] = BFloat16(updated)
      index += 1
    }
  }

  /// The per-step constants, rounded to Float where torch rounds them.
  private struct Scalars {
    let scale: Float
    let decay: Float
    let firstRate: Float
    let beta2: Float
    let secondRate: Float
    let stepSize: Float
    let secondCorrection: Float
    let epsilon: Float

    init(_ options: AdamW, step: Int, gradientScale: Float) {
      scale = gradientScale
      decay = Float(1 - options.learningRate * options.weightDecay)
      firstRate = Float(1 - options.beta1)
      beta2 = Float(options.beta2)
      secondRate = Float(1 - options.beta2)
      stepSize = Float(options.learningRate / (1 - pow(options.beta1, Double(step))))
      secondCorrection = Float((1 - pow(options.beta2, Double(step))).squareRoot())
      epsilon = Float(options.epsilon)
    }

    @inline(__always)
    func apply(_ weight: Float, _ gradient: Float, _ m: inout Float, _ v: inout Float) -> Float {
      let g = gradient * scale
      let first = m + firstRate * (g - m)
      let second = v * beta2 + secondRate * g * g
      m = first
      v = second
      return weight * decay - stepSize * first / (second.squareRoot() / secondCorrection + epsilon)
    }

    @inline(__always)
    func apply(
      _ weight: SIMD8<Float>, _ gradient: SIMD8<Float>, _ m: UnsafeMutablePointer<Float>,
      _ v: UnsafeMutablePointer<Float>
    ) -> SIMD8<Float> {
      let g = gradient * scale
      let old = load(m)
      let first = old + firstRate * (g - old)
      let second = load(v) * beta2 + secondRate * g * g
      store(first, m)
      store(second, v)
      return weight * decay - stepSize * first / (second.squareRoot() / secondCorrection + epsilon)
    }
  }
}

@inline(__always)
private func load(_ pointer: UnsafePointer<Float>) -> SIMD8<Float> {
  UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<Float>.self)
}

@inline(__always)
private func store(_ value: SIMD8<Float>, _ pointer: UnsafeMutablePointer<Float>) {
  UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD8<Float>.self)
}
