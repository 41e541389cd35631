import Kernels

/// Gumbel(0, 1) noise as a pure function of where it is used (docs/numerics.md).
///
/// Layout of the Philox4x32-10 block, one block per token id:
///
/// | word      | content                                                |
/// |-----------|--------------------------------------------------------|
/// | counter 0 | token id                                               |
/// | counter 1 | step: the position after the prompt, over all segments (24 bits); above it j div 4 of the draw j |
/// | counter 2 | sample: index within the group                         |
/// | counter 3 | low 32 bits of the group ordinal                       |
/// | key 0     | low 32 bits of the run's seed                          |
/// | key 1     | high 32 bits of the seed XOR high 32 bits of the group ordinal |
///
/// For one seed, different (group, sample, step, token id) never share a block. Draw j of a token takes output word j mod 4
/// (`w`); a step of one draw has j = 0. In `Float`, v = min((float(w >> 1) + 1/2) 2^-31, 1 - 2^-24), u = 1 - v in (0, 1), and the
/// noise is -log(-log u), with log u taken as log1p(-v) so that the upper tail, which decides draws over large
/// vocabularies, keeps all 31 bits. Noise lies in [-2.82, 22.19].
public struct NoiseKey: Sendable, Equatable, Hashable {
  /// Seed of the run.
  public var seed: UInt64

  public init(seed: UInt64) { self.seed = seed }

  /// No noise exceeds this.
  public static let maximum: Float = 22.25

  /// The noise of every token id at one step of one sample. `group` is an ordinal that a run never uses twice.
  @inlinable
  public func step(group: UInt64, sample: UInt32, step: UInt32) -> StepNoise {
    StepNoise(seed: seed, group: group, sample: sample, step: step)
  }
}

/// The noise of one step: a function of the token id (see `NoiseKey`).
@frozen
public struct StepNoise: Sendable, Equatable {
  @usableFromInline let philox: Philox
  @usableFromInline let step: UInt32
  @usableFromInline let sample: UInt32
  @usableFromInline let groupLow: UInt32

  @inlinable
  init(seed: UInt64, group: UInt64, sample: UInt32, step: UInt32) {
    philox = Philox(seed: seed ^ (group & 0xFFFF_FFFF_0000_0000))
    self.step = step
    self.sample = sample
    groupLow = UInt32(truncatingIfNeeded: group)
  }

  /// Uniform v in (0, 1), small where the noise is large; u = 1 - v.
  @inlinable @inline(__always)
  static func complement(_ word: UInt32) -> Float {
    let v = (Float(Int32(bitPattern: word &>> 1)) + 0.5) * 0x1p-31
    return v > 0x1.fffffep-1 ? 0x1.fffffep-1 : v
  }

  /// Gumbel(0, 1) noise of a token id.
  @inlinable @inline(__always)
  public func gumbel(_ tokenID: Int32) -> Float {
    let word = philox.block(SIMD4(UInt32(bitPattern: tokenID), step, sample, groupLow))[0]
    return -PortableMath.log(-PortableMath.logOneMinus(Self.complement(word)))
  }

  /// Gumbel(0, 1) noise of draw `draw` of a token id, below 1024; that of draw 0 is `gumbel`.
  @inlinable @inline(__always)
  public func gumbel(_ tokenID: Int32, draw: Int) -> Float {
    let counter = step | UInt32(truncatingIfNeeded: draw >> 2) << 24
    let word = philox.block(SIMD4(UInt32(bitPattern: tokenID), counter, sample, groupLow))[draw & 3]
    return -PortableMath.log(-PortableMath.logOneMinus(Self.complement(word)))
  }

  /// Uniform noise in (0, 1) of draw `draw`, below 1024, of a token id or of a component: (word + 1/2) 2^-32.
  @inlinable
  public func uniform(_ index: Int32, draw: Int = 0) -> Double {
    let counter = step | UInt32(truncatingIfNeeded: draw >> 2) << 24
    let word = philox.block(SIMD4(UInt32(bitPattern: index), counter, sample, groupLow))[draw & 3]
    return (Double(word) + 0.5) * 0x1p-32
  }

  /// Standard normal noise, the quantile of `uniform`: within 6.4 of 0.
  @inlinable
  public func normal(_ index: Int32, draw: Int = 0) -> Double {
    PortableMath.normalQuantile(uniform(index, draw: draw))
  }

  /// `complement` of the sixteen token ids from `first` on.
  @inlinable @inline(__always)
  func complement16(from first: Int32) -> SIMD16<Float> {
    let lanes = SIMD16<UInt32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    let ids = lanes &+ SIMD16(repeating: UInt32(bitPattern: first))
    let words = philox.firstWords16(ids, step, sample, groupLow)
    let signed = unsafeBitCast(words &>> SIMD16(repeating: 1), to: SIMD16<Int32>.self)
    let limit = SIMD16<Float>(repeating: 0x1.fffffep-1)
    let v = (SIMD16<Float>(signed) + SIMD16(repeating: 0.5)) * SIMD16(repeating: 0x1p-31)
    return v.replacing(with: limit, where: v .> limit)
  }

  /// Gumbel(0, 1) noise of the sixteen token ids from `first` on: the bits of `gumbel` per lane.
  @inlinable @inline(__always)
  public func gumbel16(from first: Int32) -> SIMD16<Float> { Self.gumbel16(complement: complement16(from: first)) }

  @inlinable @inline(__always)
  static func gumbel16(complement v: SIMD16<Float>) -> SIMD16<Float> {
    let zero = SIMD16<Float>(repeating: 0)
    return zero - PortableMath.log16(zero - PortableMath.logOneMinus16(v))
  }
}
