import CVectorKernels

/// Passes over a row of logits as long as the vocabulary: the same bits on every processor.
public enum VocabularyRow {
  /// Sum over v of exp((z_v - maximum) * inverseTemperature).
  ///
  /// One fixed order: sixteen lanes by index modulo 16, flushed every 1,024 entries to double precision through a fixed
  /// tree; a short tail is padded with exp = 0.
  public static func sumOfExponentials(
    _ row: UnsafeBufferPointer<Float>, maximum: Float, inverseTemperature: Float
  ) -> Double {
    guard let base = row.baseAddress else { return 0 }
    #if arch(x86_64)
      if InstructionSet.current == .avx512 {
        return softgrpo_sum_of_exponentials_avx512(base, Int64(row.count), maximum, inverseTemperature)
      }
    #endif
    return softgrpo_sum_of_exponentials_baseline(base, Int64(row.count), maximum, inverseTemperature)
  }

  /// `sumOfExponentials`, the same bits, and beside it the sum over v of x_v exp(x_v), x = (z - maximum) *
  /// inverseTemperature, in the same order: what an entropy needs, in one pass.
  public static func exponentialMoments(
    _ row: UnsafeBufferPointer<Float>, maximum: Float, inverseTemperature: Float
  ) -> (sum: Double, weighted: Double) {
    guard let base = row.baseAddress else { return (0, 0) }
    var weighted = 0.0
    var sum: Double
    #if arch(x86_64)
      if InstructionSet.current == .avx512 {
        sum = softgrpo_exponential_moments_avx512(base, Int64(row.count), maximum, inverseTemperature, &weighted)
      } else {
        sum = softgrpo_exponential_moments_baseline(base, Int64(row.count), maximum, inverseTemperature, &weighted)
      }
    #else
      sum = softgrpo_exponential_moments_baseline(base, Int64(row.count), maximum, inverseTemperature, &weighted)
    #endif
    return (sum, weighted)
  }

  /// y = scale exp((z - maximum) * inverseTemperature - logSum) for a row of logits z: its softmax, scaled, at the rounding
  /// point of the next product.
  public static func scaledSoftmax(
    _ row: UnsafeBufferPointer<Float>, maximum: Float, inverseTemperature: Float, logSum: Float, scale: Float,
    into y: Operand
  ) {
    guard let base = row.baseAddress else { return }
    let count = Int64(row.count)
    switch y {
    case .float32(let y):
      #if arch(x86_64)
        if InstructionSet.current == .avx512 {
          return softgrpo_scaled_softmax_f32_avx512(base, count, maximum, inverseTemperature, logSum, scale, y)
        }
      #endif
      softgrpo_scaled_softmax_f32_baseline(base, count, maximum, inverseTemperature, logSum, scale, y)
    case .bfloat16(let y):
      #if arch(x86_64)
        if InstructionSet.current == .avx512 {
          return softgrpo_scaled_softmax_bf16_avx512(base, count, maximum, inverseTemperature, logSum, scale, y.bits)
        }
      #endif
      softgrpo_scaled_softmax_bf16_baseline(base, count, maximum, inverseTemperature, logSum, scale, y.bits)
    }
  }

  /// Sixteen neighbouring tokens, one of which may win a Gumbel-max draw.
  public struct Candidates {
    /// Id of the first of the sixteen, a multiple of 16.
    public var first: Int
    /// (z - maximum) * inverseTemperature; -infinity beyond the row.
    public var scaled: SIMD16<Float>
    /// v = 1 - u of each token's uniform noise.
    public var complement: SIMD16<Float>
  }

  /// The first sixteen tokens from `start` on, a multiple of 16, of which one may score above `winning` with its noise.
  ///
  /// Noise is Gumbel, drawn by Philox at the counter (token id, step, sample, group) under `key`, never above
  /// `noiseMaximum`. Most tokens are rejected by one exponential, without their logarithm.
  public static func nextCandidates(
    _ row: UnsafeBufferPointer<Float>, from start: Int, maximum: Float, inverseTemperature: Float, winning: Float,
    key: SIMD2<UInt32>, step: UInt32, sample: UInt32, group: UInt32, noiseMaximum: Float
  ) -> Candidates? {
    guard let base = row.baseAddress, start < row.count else { return nil }
    var counter = softgrpo_noise_counter(
      key0: key[0], key1: key[1], step: step, sample: sample, group: group, maximum: noiseMaximum)
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 32) { buffer in
      let (scaled, complement) = (buffer.baseAddress!, buffer.baseAddress! + 16)
      let (count, first) = (Int64(row.count), Int64(start))
      var found: Int64
      #if arch(x86_64)
        if InstructionSet.current == .avx512 {
          found = softgrpo_next_candidate_avx512(
            base, count, first, maximum, inverseTemperature, winning, &counter, scaled, complement)
        } else {
          found = softgrpo_next_candidate_baseline(
            base, count, first, maximum, inverseTemperature, winning, &counter, scaled, complement)
        }
      #else
        found = softgrpo_next_candidate_baseline(
          base, count, first, maximum, inverseTemperature, winning, &counter, scaled, complement)
      #endif
      guard found < count else { return nil }
      return Candidates(first: Int(found), scaled: Float.load16(scaled), complement: Float.load16(complement))
    }
  }
}
