/// A small seeded generator (SplitMix64), so that every run of a test sees the same numbers.
public struct SeededRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0xD1B5_4A32_D192_ED03 }

  public mutating func next() -> UInt64 {
    state = state &+ 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [-scale, scale).
  public mutating func value(_ scale: Float = 1) -> Float {
    (Float(next() >> 40) * 0x1p-23 - 1) * scale
  }

  public mutating func values(_ count: Int, scale: Float = 1) -> [Float] { (0..<count).map { _ in value(scale) } }
}

/// `count` values uniform in [-scale, scale).
public func randomValues(_ count: Int, seed: UInt64, scale: Float = 1) -> [Float] {
  var random = SeededRandom(seed)
  return random.values(count, scale: scale)
}
