/// A 16-bit brain float: the upper half of an IEEE 754 binary32. Storage only; arithmetic happens in `Float`.
@frozen
public struct BFloat16: BitwiseCopyable, Sendable, Equatable, Hashable {
  public var bitPattern: UInt16

  @inlinable @inline(__always)
  public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// Rounds to nearest, ties to even. NaN stays NaN (quieted).
  @inlinable @inline(__always)
  public init(_ value: Float) {
    let bits = value.bitPattern
    if value.isNaN {
      bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x0040
    } else {
      bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
    }
  }
}

extension Float {
  /// The exact value of a bfloat16.
  @inlinable @inline(__always)
  public init(_ value: BFloat16) { self.init(bitPattern: UInt32(value.bitPattern) << 16) }

  /// This value rounded to bfloat16 (nearest, ties to even) and back.
  @inlinable @inline(__always)
  public var roundedToBFloat16: Float { Float(BFloat16(self)) }
}

extension UnsafePointer where Pointee == BFloat16 {
  /// The same memory as C sees it.
  @inline(__always)
  var bits: UnsafePointer<UInt16> { UnsafeRawPointer(self).assumingMemoryBound(to: UInt16.self) }
}

extension UnsafeMutablePointer where Pointee == BFloat16 {
  /// The same memory as C sees it.
  @inline(__always)
  var bits: UnsafeMutablePointer<UInt16> { UnsafeMutableRawPointer(self).assumingMemoryBound(to: UInt16.self) }
}
