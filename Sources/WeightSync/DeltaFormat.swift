/// The bytes of a delta: what turns a parent's bf16 weights into those of the version after it, without loss.
///
/// Little-endian. `uvarint` is LEB128 in its shortest form.
///
///     "softgrpo delta 1"           16 bytes
///     weight count                 u64
///     changed count                u64
///     weights of a section         u32, a multiple of a leaf's 524,288; the last section may be shorter
///     section count                u32
///     per section                  u32 changed count, u32 payload bytes
///     payloads
///
/// AdamW moves every weight by about the learning rate, so which bf16 weights change follows from their size: those whose
/// spacing is far below the step change almost surely, the others rarely. A section therefore tells the *small* weights of
/// the parent (those with a biased exponent below `limit`) from the others. The small ones are sorted into classes by
/// exponent, the smallest together in class 0, and what is stored of a class is the lengths of the runs of its members, in
/// order of position, that did not change (or that did, if most do). Changes among the others are stored as gaps between
/// positions. A payload:
///
///     limit                        u8; 0: nothing is small
///     class count                  u8; classes hold exponents limit - 1, limit - 2, ..., the last all below
///     shift                        u8; bits of a gap that are stored as they are
///     flips                        u32; bit c: class c stores runs of changed members
///     per class                    stream of runs, stream of values
///     others                       stream of low bits, stream of quotients, stream of values
///     wide values                  stream of low bytes, stream of high bytes
///
/// A run of r members is written as r / 255 bytes of 255 and one of r % 255, and the member after it is of the other kind; a
/// run that lasts to the end is not written. A gap g counts unchanged positions between changes, wherever small members lie;
/// g >> shift is written as a run is, the low bits are packed from the least significant bit on, the last byte padded with
/// zeros. A value is the distance d of the new bits from the old on the line of bf16 numbers (-0 next to +0, NaN beyond
/// infinity, modulo 2^16), as (d << 1 ^ d >> 15) - 1: below 255 one byte, else 255 and the two bytes of the rest among the
/// wide values. A stream:
///
///     uvarint byte count; unless it is 0: uvarint of the frame's byte count (0: stored as they are), and the bytes or one
///     Zstandard frame
enum DeltaFormat {
  static let magic = Array("softgrpo delta 1".utf8)
  static let headerByteCount = 40
  static let entryByteCount = 8
  /// 16 MiB of weights: independent of each other, enough of them to be worth their tables.
  static let sectionWeightCount = 8 << 20
  static let leafWeightCount = VersionHash.leafByteCount / 2
  static let classLimit = 24
  /// Weights looked at together: positions and weights stay in the cache.
  static let blockWeightCount = 32 << 10

  /// A bf16 pattern's place on the line of numbers.
  @inline(__always)
  static func rank(_ bits: UInt16) -> UInt16 { bits & 0x8000 == 0 ? bits | 0x8000 : ~bits }

  @inline(__always)
  static func bits(rank: UInt16) -> UInt16 { rank & 0x8000 == 0 ? ~rank : rank & 0x7FFF }

  /// 0 ... 65,534 for two different patterns.
  @inline(__always)
  static func value(from old: UInt16, to new: UInt16) -> UInt16 {
    let distance = Int16(bitPattern: rank(new) &- rank(old))
    return UInt16(bitPattern: (distance &<< 1) ^ (distance &>> 15)) &- 1
  }

  @inline(__always)
  static func apply(_ value: UInt16, to old: UInt16) -> UInt16 {
    let zigzag = value &+ 1
    let distance = (zigzag &>> 1) ^ (0 &- (zigzag & 1))
    return bits(rank: rank(old) &+ distance)
  }

  /// Index of a small weight's class: 0 is the largest exponent below the limit.
  @inline(__always)
  static func smallClass(_ bits: UInt16, limit: Int, classCount: Int) -> Int {
    min(limit - 1 - Int(bits >> 7 & 0xFF), classCount - 1)
  }

  static func sectionCount(weights: Int, ofSection size: Int) -> Int { weights / size + (weights % size == 0 ? 0 : 1) }
}

/// Reads a delta's bytes from front to back; nothing is read past the end.
struct DeltaCursor {
  private let bytes: UnsafeRawBufferPointer
  private var offset = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var remaining: Int { bytes.count - offset }

  mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
    guard count >= 0, count <= remaining else {
      throw WeightSyncError("a delta ends in the middle: \(count) bytes are wanted, \(remaining) are left")
    }
    defer { offset += count }
    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
  }

  mutating func integer<Value: FixedWidthInteger>(_: Value.Type) throws -> Value {
    Value(littleEndian: try take(MemoryLayout<Value>.size).loadUnaligned(as: Value.self))
  }

  /// At most 32 bits.
  mutating func variable() throws -> Int {
    var value = 0
    for shift in stride(from: 0, through: 28, by: 7) {
      let byte = try integer(UInt8.self)
      value |= Int(byte & 0x7F) << shift
      if byte & 0x80 == 0 {
        guard byte != 0 || shift == 0 else {
          throw WeightSyncError("a delta has a number that is not in its shortest form")
        }
        return value
      }
    }
    throw WeightSyncError("a delta has a number of more than 35 bits")
  }

  /// - Parameter limit: bytes that the stream may have; checked before they are allocated.
  mutating func stream(limit: Int, _ zstandard: Zstandard) throws -> [UInt8] {
    let count = try variable()
    guard count <= limit else {
      throw WeightSyncError("a delta has a stream of \(count) bytes where \(limit) are possible")
    }
    if count == 0 { return [] }
    let stored = try variable()
    if stored == 0 { return Array(try take(count)) }
    return try zstandard.decompress(take(stored), byteCount: count)
  }
}

extension [UInt8] {
  mutating func append(littleEndian value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  mutating func append(variable value: Int) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(rest & 0x7F | 0x80))
      rest >>= 7
    }
    append(UInt8(rest))
  }

  mutating func append(stream: [UInt8], _ zstandard: Zstandard) {
    append(variable: stream.count)
    if stream.isEmpty { return }
    let frame = zstandard.compress(stream)
    append(variable: frame?.count ?? 0)
    append(contentsOf: frame ?? stream)
  }
}
