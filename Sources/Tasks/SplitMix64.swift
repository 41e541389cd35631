/// SplitMix64 (Steele, Lea and Flood 2014): a counter passed through a mixing function; the same numbers everywhere.
///
/// Data order and generated tasks use it; sampling noise does not (that is Philox, keyed by run and token).
public struct SplitMix64: RandomNumberGenerator, Sendable, Equatable {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  /// The stream of element `index` under `seed`: streams of neighbouring indices are unrelated.
  public init(seed: UInt64, index: UInt64) {
    state = Self.mix(Self.mix(seed) &+ index &* 0x9E37_79B9_7F4A_7C15)
  }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mix(state)
  }

  /// Uniform in 0..<bound, unbiased: draws below 2^64 mod bound are rejected.
  public mutating func below(_ bound: UInt64) -> UInt64 {
    precondition(bound > 0, "an empty range has no element to draw")
    let threshold = (0 &- bound) % bound
    while true {
      let draw = next()
      if draw >= threshold { return draw % bound }
    }
  }

  /// Uniform in [0, 1) with 53 bits.
  public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
