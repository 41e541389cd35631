/// `exp` and `log` with the same bits on every machine.
///
/// A libm may change its last bit between versions and processors; sampled noise and scores must not. Only IEEE 754
/// additions, multiplications, divisions and fused `addingProduct` are used, in a written order, so the result is a
/// function of the argument alone. The sixteen-lane versions perform the scalar operations per lane: the same bits.
/// `Float` results are within 1.5 ulp (`logOneMinus` 2.5), `Double` within 2. Methods: Cephes `expf`, fdlibm `log` and
/// `exp`.
public enum PortableMath {
  // MARK: Float

  /// e^x. -infinity gives 0, large arguments give infinity, subnormal results are rounded correctly, NaN stays NaN.
  @inlinable @inline(__always)
  public static func exp(_ x: Float) -> Float {
    // Outside these bounds the result is already 0 or infinity; comparisons are false for NaN, which passes through.
    var clamped = x > 89 ? 89 : x
    clamped = clamped < -104 ? -104 : clamped
    // Adding 1.5 * 2^23 rounds to an integer that then sits in the low mantissa bits.
    let shifted = clamped * 1.442_695_040_9 + 12_582_912
    let n = shifted - 12_582_912
    let exponent = Int32(bitPattern: shifted.bitPattern) &- 0x4B40_0000
    var r = clamped.addingProduct(n, -0.693_359_375)
    r = r.addingProduct(n, 2.121_944_4e-4)
    var p: Float = 1.987_569_15e-4
    p = Float(1.398_199_950_7e-3).addingProduct(p, r)
    p = Float(8.333_451_907_3e-3).addingProduct(p, r)
    p = Float(4.166_579_589_4e-2).addingProduct(p, r)
    p = Float(1.666_666_545_9e-1).addingProduct(p, r)
    p = Float(5.000_000_120_1e-1).addingProduct(p, r)
    let y = r.addingProduct(p, r * r) + 1
    // 2^n in two exact factors, so that overflow and subnormal results round once.
    let half = exponent &>> 1
    let rest = exponent &- half
    let scale0 = Float(bitPattern: UInt32(bitPattern: (half &+ 127) &<< 23))
    let scale1 = Float(bitPattern: UInt32(bitPattern: (rest &+ 127) &<< 23))
    return (y * scale0) * scale1
  }

  /// e^x per lane: the bits of the scalar `exp`.
  @inlinable @inline(__always)
  public static func exp16(_ x: SIMD16<Float>) -> SIMD16<Float> {
    typealias Vector = SIMD16<Float>
    let upper = Vector(repeating: 89)
    let lower = Vector(repeating: -104)
    let magic = Vector(repeating: 12_582_912)
    var clamped = x.replacing(with: upper, where: x .> upper)
    clamped = clamped.replacing(with: lower, where: clamped .< lower)
    let shifted = clamped * Vector(repeating: 1.442_695_040_9) + magic
    let n = shifted - magic
    let exponent = unsafeBitCast(shifted, to: SIMD16<Int32>.self) &- SIMD16<Int32>(repeating: 0x4B40_0000)
    var r = clamped.addingProduct(n, Vector(repeating: -0.693_359_375))
    r = r.addingProduct(n, Vector(repeating: 2.121_944_4e-4))
    var p = Vector(repeating: 1.987_569_15e-4)
    p = Vector(repeating: 1.398_199_950_7e-3).addingProduct(p, r)
    p = Vector(repeating: 8.333_451_907_3e-3).addingProduct(p, r)
    p = Vector(repeating: 4.166_579_589_4e-2).addingProduct(p, r)
    p = Vector(repeating: 1.666_666_545_9e-1).addingProduct(p, r)
    p = Vector(repeating: 5.000_000_120_1e-1).addingProduct(p, r)
    let y = r.addingProduct(p, r * r) + Vector(repeating: 1)
    let bias = SIMD16<Int32>(repeating: 127)
    let mantissaBits = SIMD16<Int32>(repeating: 23)
    let half = exponent &>> SIMD16<Int32>(repeating: 1)
    let rest = exponent &- half
    let scale0 = unsafeBitCast((half &+ bias) &<< mantissaBits, to: Vector.self)
    let scale1 = unsafeBitCast((rest &+ bias) &<< mantissaBits, to: Vector.self)
    return (y * scale0) * scale1
  }

  /// Natural logarithm. 0 gives -infinity, a negative number or NaN gives NaN, infinity stays.
  @inlinable @inline(__always)
  public static func log(_ x: Float) -> Float {
    let isSubnormal = x < 0x1p-126
    let scaled = isSubnormal ? x * 0x1p25 : x
    // The mantissa is taken in [sqrt(1/2), sqrt(2)): the offset moves the exponent's carry there.
    let bits = scaled.bitPattern &+ (0x3F80_0000 &- 0x3F35_04F3)
    let exponent = Int32(bitPattern: bits &>> 23) &- 127 &- (isSubnormal ? 25 : 0)
    let mantissa = Float(bitPattern: (bits & 0x007F_FFFF) &+ 0x3F35_04F3)
    let result = logReduced(mantissa - 1, exponent: Float(exponent))
    if x > 0 { return x == .infinity ? x : result }
    return x == 0 ? -.infinity : .nan
  }

  /// Natural logarithm per lane: the bits of the scalar `log`.
  @inlinable @inline(__always)
  public static func log16(_ x: SIMD16<Float>) -> SIMD16<Float> {
    typealias Vector = SIMD16<Float>
    let isSubnormal = x .< Vector(repeating: 0x1p-126)
    let scaled = x.replacing(with: x * Vector(repeating: 0x1p25), where: isSubnormal)
    let bits = unsafeBitCast(scaled, to: SIMD16<UInt32>.self) &+ SIMD16(repeating: 0x3F80_0000 &- 0x3F35_04F3)
    var exponent = unsafeBitCast(bits &>> SIMD16(repeating: 23), to: SIMD16<Int32>.self)
    exponent = exponent &- SIMD16(repeating: 127)
    exponent = exponent.replacing(with: exponent &- SIMD16(repeating: 25), where: isSubnormal)
    let mantissaBits = (bits & SIMD16(repeating: 0x007F_FFFF)) &+ SIMD16(repeating: 0x3F35_04F3)
    let mantissa = unsafeBitCast(mantissaBits, to: Vector.self)
    var result = logReduced16(mantissa - Vector(repeating: 1), exponent: Vector(exponent))
    result = result.replacing(with: x, where: x .== Vector(repeating: .infinity))
    let zero = Vector(repeating: 0)
    // NaN compares false with everything, so "not >= 0" finds it too.
    result = result.replacing(with: Vector(repeating: .nan), where: .!(x .>= zero))
    return result.replacing(with: Vector(repeating: -.infinity), where: x .== zero)
  }

  /// log(1 - v) for v in [0, 1), without the rounding of 1 - v near 0: log1p of a negative argument.
  @inlinable @inline(__always)
  public static func logOneMinus(_ v: Float) -> Float {
    let x = 1 - v
    let bits = x.bitPattern &+ (0x3F80_0000 &- 0x3F35_04F3)
    let exponent = Int32(bitPattern: bits &>> 23) &- 127
    let mantissa = Float(bitPattern: (bits & 0x007F_FFFF) &+ 0x3F35_04F3)
    return logReduced(exponent == 0 ? -v : mantissa - 1, exponent: Float(exponent))
  }

  /// log(1 - v) per lane: the bits of the scalar `logOneMinus`.
  @inlinable @inline(__always)
  public static func logOneMinus16(_ v: SIMD16<Float>) -> SIMD16<Float> {
    typealias Vector = SIMD16<Float>
    let one = Vector(repeating: 1)
    let bits = unsafeBitCast(one - v, to: SIMD16<UInt32>.self) &+ SIMD16(repeating: 0x3F80_0000 &- 0x3F35_04F3)
    let exponent =
      unsafeBitCast(bits &>> SIMD16(repeating: 23), to: SIMD16<Int32>.self) &- SIMD16(repeating: 127)
    let mantissaBits = (bits & SIMD16(repeating: 0x007F_FFFF)) &+ SIMD16(repeating: 0x3F35_04F3)
    let mantissa = unsafeBitCast(mantissaBits, to: Vector.self)
    let f = (mantissa - one).replacing(with: Vector(repeating: 0) - v, where: exponent .== SIMD16(repeating: 0))
    return logReduced16(f, exponent: Vector(exponent))
  }

  /// log(2^exponent * (1 + f)), 1 + f in [sqrt(1/2), sqrt(2)).
  @inlinable @inline(__always)
  static func logReduced(_ f: Float, exponent: Float) -> Float {
    let s = f / (f + 2)
    let z = s * s
    let w = z * z
    let odd = w * Float(0x1.999c26p-2).addingProduct(w, Float(0x1.f13c4cp-3))
    let even = z * Float(0x1.555554p-1).addingProduct(w, Float(0x1.23d3dcp-2))
    let halfSquare = 0.5 * f * f
    let correction = (exponent * 9.058_000_6e-06).addingProduct(s, halfSquare + (odd + even))
    return (correction - halfSquare + f).addingProduct(exponent, 0.693_138_12)
  }

  @inlinable @inline(__always)
  static func logReduced16(_ f: SIMD16<Float>, exponent: SIMD16<Float>) -> SIMD16<Float> {
    typealias Vector = SIMD16<Float>
    let s = f / (f + Vector(repeating: 2))
    let z = s * s
    let w = z * z
    let odd = w * Vector(repeating: 0x1.999c26p-2).addingProduct(w, Vector(repeating: 0x1.f13c4cp-3))
    let even = z * Vector(repeating: 0x1.555554p-1).addingProduct(w, Vector(repeating: 0x1.23d3dcp-2))
    let halfSquare = Vector(repeating: 0.5) * f * f
    let correction = (exponent * Vector(repeating: 9.058_000_6e-06)).addingProduct(s, halfSquare + (odd + even))
    return (correction - halfSquare + f).addingProduct(exponent, Vector(repeating: 0.693_138_12))
  }

  // MARK: Double

  /// e^x in double precision, with the special values of the `Float` version.
  @inlinable
  public static func exp(_ x: Double) -> Double {
    var clamped = x > 710 ? 710 : x
    clamped = clamped < -746 ? -746 : clamped
    let shifted = clamped * 1.442_695_040_888_963_387 + 0x1.8p52
    let n = shifted - 0x1.8p52
    let exponent = Int64(bitPattern: shifted.bitPattern) &- 0x4338_0000_0000_0000
    let high = clamped.addingProduct(n, -6.931_471_803_691_238_164_90e-01)
    let low = n * 1.908_214_929_270_587_700_02e-10
    let r = high - low
    let square = r * r
    var p = 4.138_136_797_057_238_460_39e-08
    p = (-1.653_390_220_546_525_153_90e-06).addingProduct(p, square)
    p = (6.613_756_321_437_934_361_17e-05).addingProduct(p, square)
    p = (-2.777_777_777_701_559_338_42e-03).addingProduct(p, square)
    p = (1.666_666_666_666_660_190_37e-01).addingProduct(p, square)
    let c = r - square * p
    let y = 1 + (r * c / (2 - c) - low + high)
    let half = exponent &>> 1
    let rest = exponent &- half
    let scale0 = Double(bitPattern: UInt64(bitPattern: (half &+ 1023) &<< 52))
    let scale1 = Double(bitPattern: UInt64(bitPattern: (rest &+ 1023) &<< 52))
    return (y * scale0) * scale1
  }

  /// Natural logarithm in double precision, with the special values of the `Float` version.
  @inlinable
  public static func log(_ x: Double) -> Double {
    let isSubnormal = x < 0x1p-1022
    let scaled = isSubnormal ? x * 0x1p54 : x
    let bits = scaled.bitPattern &+ (0x3FF0_0000_0000_0000 &- 0x3FE6_A09E_0000_0000)
    let exponent = Int64(bitPattern: bits &>> 52) &- 1023 &- (isSubnormal ? 54 : 0)
    let mantissa = Double(bitPattern: (bits & 0x000F_FFFF_FFFF_FFFF) &+ 0x3FE6_A09E_0000_0000)
    let f = mantissa - 1
    let s = f / (f + 2)
    let z = s * s
    let w = z * z
    var odd = (2.222_219_843_214_978_396e-01).addingProduct(w, 1.531_383_769_920_937_332e-01)
    odd = w * (3.999_999_999_940_941_908e-01).addingProduct(w, odd)
    var even = (1.818_357_216_161_805_012e-01).addingProduct(w, 1.479_819_860_511_658_591e-01)
    even = (2.857_142_874_366_239_149e-01).addingProduct(w, even)
    even = z * (6.666_666_666_666_735_130e-01).addingProduct(w, even)
    let halfSquare = 0.5 * f * f
    let k = Double(exponent)
    let correction = (k * 1.908_214_929_270_587_700_02e-10).addingProduct(s, halfSquare + (odd + even))
    let result = (correction - halfSquare + f).addingProduct(k, 6.931_471_803_691_238_164_90e-01)
    if x > 0 { return x == .infinity ? x : result }
    return x == 0 ? -.infinity : .nan
  }

  /// log Gamma(n) = log((n - 1)!) for a positive integer: from the exact factorial up to n = 21, from Stirling's series
  /// (error below 3e-13) above. +infinity for n <= 0, where Gamma has its poles.
  public static func logGamma(_ n: Int) -> Double {
    guard n > 0 else { return .infinity }
    if n <= 21 {
      var factorial: UInt64 = 1
      for factor in 1..<UInt64(n) where factor > 1 { factorial *= factor }
      return log(Double(factorial))
    }
    let x = Double(n)
    let inverse = 1 / x
    let square = inverse * inverse
    let series = inverse * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260)))
    let halfLogTwoPi = 0.918_938_533_204_672_741_78
    return (x - 0.5) * log(x) - x + halfLogTwoPi + series
  }
}
