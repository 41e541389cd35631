/// Philox4x32-10: a counter-based random number generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
///
/// A pure function from a 128-bit counter and a 64-bit key to 128 random bits: no state, so any draw can be made, repeated
/// or checked anywhere. The words are those of Random123's `philox4x32` with ten rounds.
@frozen
public struct Philox: Sendable, Equatable {
  /// Key words 0 and 1.
  public var key: SIMD2<UInt32>

  @inlinable @inline(__always)
  public init(key: SIMD2<UInt32>) { self.key = key }

  /// Key word 0 is the low half of `seed`, word 1 the high half.
  @inlinable @inline(__always)
  public init(seed: UInt64) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
  }

  /// The four output words of one counter.
  @inlinable @inline(__always)
  public func block(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
    var (c0, c1, c2, c3) = (counter[0], counter[1], counter[2], counter[3])
    var (k0, k1) = (key[0], key[1])
    for _ in 0..<10 {
      let product0 = 0xD251_1F53 &* UInt64(c0)
      let product1 = 0xCD9E_8D57 &* UInt64(c2)
      let next0 = UInt32(truncatingIfNeeded: product1 >> 32) ^ c1 ^ k0
      let next2 = UInt32(truncatingIfNeeded: product0 >> 32) ^ c3 ^ k1
      c1 = UInt32(truncatingIfNeeded: product1)
      c3 = UInt32(truncatingIfNeeded: product0)
      c0 = next0
      c2 = next2
      k0 = k0 &+ 0x9E37_79B9
      k1 = k1 &+ 0xBB67_AE85
    }
    return SIMD4(c0, c1, c2, c3)
  }

  /// Output word 0 of eight counters that differ in their first word; each lane holds 32 bits in the low half.
  ///
  /// 32-bit words travel in 64-bit lanes so that a round's products are plain widening multiplications without shuffles.
  @inlinable @inline(__always)
  func firstWords8(_ counter0: SIMD8<UInt64>, _ counter1: UInt32, _ counter2: UInt32, _ counter3: UInt32)
    -> SIMD8<UInt64>
  {
    let low = SIMD8<UInt64>(repeating: 0xFFFF_FFFF)
    let shift = SIMD8<UInt64>(repeating: 32)
    let multiplier0 = SIMD8<UInt64>(repeating: 0xD251_1F53)
    let multiplier1 = SIMD8<UInt64>(repeating: 0xCD9E_8D57)
    var c0 = counter0
    var c1 = SIMD8<UInt64>(repeating: UInt64(counter1))
    var c2 = SIMD8<UInt64>(repeating: UInt64(counter2))
    var c3 = SIMD8<UInt64>(repeating: UInt64(counter3))
    var (k0, k1) = (key[0], key[1])
    for _ in 0..<10 {
      let product0 = multiplier0 &* (c0 & low)
      let product1 = multiplier1 &* (c2 & low)
      c0 = (product1 &>> shift) ^ c1 ^ SIMD8(repeating: UInt64(k0))
      c2 = (product0 &>> shift) ^ c3 ^ SIMD8(repeating: UInt64(k1))
      c1 = product1 & low
      c3 = product0 & low
      k0 = k0 &+ 0x9E37_79B9
      k1 = k1 &+ 0xBB67_AE85
    }
    return c0
  }

  /// Output word 0 of sixteen counters `(counter0[lane], counter1, counter2, counter3)`: the same bits as `block`.
  @inlinable @inline(__always)
  public func firstWords16(
    _ counter0: SIMD16<UInt32>, _ counter1: UInt32, _ counter2: UInt32, _ counter3: UInt32
  ) -> SIMD16<UInt32> {
    let lowHalf = firstWords8(SIMD8<UInt64>(truncatingIfNeeded: counter0.lowHalf), counter1, counter2, counter3)
    let highHalf = firstWords8(SIMD8<UInt64>(truncatingIfNeeded: counter0.highHalf), counter1, counter2, counter3)
    return SIMD16(
      lowHalf: SIMD8<UInt32>(truncatingIfNeeded: lowHalf), highHalf: SIMD8<UInt32>(truncatingIfNeeded: highHalf))
  }
}
