/// Low-rank adapters folded into the weights they adapt: W' = W + scale B A (LoRA, arXiv 2106.09685, equation 3).
public enum AdapterMerge {
  /// merged[n, k] = bf16(base[n, k] + scale * sum over r of b[n, r] a[r, k]), rounded to nearest even.
  ///
  /// Every element is one chain of fused multiply-adds in fp32 in ascending r, begun at 0, and one more for the base: the
  /// same bits on every processor, whatever the number of threads. Where the sum is 0 the base stays as it is, to the sign
  /// of its zeros.
  ///
  /// - Parameters:
  ///   - base: outputs x inputs.
  ///   - a: rank x inputs.
  ///   - b: outputs x rank.
  ///   - merged: outputs x inputs; may be `base`.
  public static func merge(
    base: UnsafePointer<BFloat16>, a: UnsafePointer<BFloat16>, b: UnsafePointer<BFloat16>, scale: Float, rank: Int,
    outputs: Int, inputs: Int, into merged: UnsafeMutablePointer<BFloat16>, team: ThreadTeam
  ) {
    let wide = AlignedBuffer<Float>(count: rank * inputs)
    widen(a, into: wide.base, count: rank * inputs)
    nonisolated(unsafe) let (base, b, merged, a) = (base, b, merged, UnsafePointer(wide.base))
    let grain = max(1, (outputs + 4 * team.threadCount - 1) / (4 * team.threadCount))
    team.forEachRange(outputs, grain: grain) { range, _ in
      for row in range {
        mergeRow(
          base + row * inputs, a, b + row * rank, scale, rank: rank, inputs: inputs, into: merged + row * inputs)
      }
    }
  }

  @inline(__always)
  private static func mergeRow(
    _ base: UnsafePointer<BFloat16>, _ a: UnsafePointer<Float>, _ b: UnsafePointer<BFloat16>, _ scale: Float, rank: Int,
    inputs: Int, into merged: UnsafeMutablePointer<BFloat16>
  ) {
    var column = 0
    while column + 64 <= inputs {
      var (s0, s1, s2, s3) = (SIMD16<Float>(), SIMD16<Float>(), SIMD16<Float>(), SIMD16<Float>())
      for r in 0..<rank {
        let factor = SIMD16(repeating: Float(b[r]))
        let row = a + r * inputs + column
        s0 = multiplyAdd(factor, Float.load16(row), s0)
        s1 = multiplyAdd(factor, Float.load16(row + 16), s1)
        s2 = multiplyAdd(factor, Float.load16(row + 32), s2)
        s3 = multiplyAdd(factor, Float.load16(row + 48), s3)
      }
      store(s0, scale, base + column, merged + column)
      store(s1, scale, base + column + 16, merged + column + 16)
      store(s2, scale, base + column + 32, merged + column + 32)
      store(s3, scale, base + column + 48, merged + column + 48)
      column += 64
    }
    while column < inputs {
      var sum: Float = 0
      for r in 0..<rank { sum = sum.addingProduct(Float(b[r]), a[r * inputs + column]) }
      let old = base[column]
      merged[column] = sum == 0 ? old : BFloat16(Float(old).addingProduct(scale, sum))
      column += 1
    }
  }

  @inline(__always)
  private static func store(
    _ sum: SIMD16<Float>, _ scale: Float, _ base: UnsafePointer<BFloat16>, _ merged: UnsafeMutablePointer<BFloat16>
  ) {
    let old = BFloat16.load16(base)
    // Rounding returns a bf16 value unchanged, so selecting the base keeps its bits.
    let new = multiplyAdd(SIMD16(repeating: scale), sum, old).replacing(with: old, where: sum .== SIMD16(repeating: 0))
    BFloat16.store16(new, merged)
  }
}
