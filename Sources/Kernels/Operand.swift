import CVectorKernels

/// The number format in which matrix products read their inputs and the key/value cache is kept.
public enum ComputeType: String, Sendable, Codable, CaseIterable {
  /// OpenBLAS; the parity mode.
  case float32
  /// oneDNN with fp32 accumulation, where the processor has bf16 products.
  case bfloat16

  public var byteCount: Int { self == .float32 ? 4 : 2 }
}

/// A type in which activations are stored at a rounding point.
public protocol ActivationElement: BitwiseCopyable {
  init(rounding value: Float)
  var float: Float { get }
  static func load16(_ pointer: UnsafePointer<Self>) -> SIMD16<Float>
  static func store16(_ value: SIMD16<Float>, _ pointer: UnsafeMutablePointer<Self>)
}

extension Float: ActivationElement {
  @inlinable @inline(__always) public init(rounding value: Float) { self = value }
  @inlinable @inline(__always) public var float: Float { self }
  @inlinable @inline(__always)
  public static func load16(_ pointer: UnsafePointer<Float>) -> SIMD16<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Float>.self)
  }
  @inlinable @inline(__always)
  public static func store16(_ value: SIMD16<Float>, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD16<Float>.self)
  }
}

extension BFloat16: ActivationElement {
  @inlinable @inline(__always) public init(rounding value: Float) { self.init(value) }
  @inlinable @inline(__always) public var float: Float { Float(self) }
  @inlinable @inline(__always)
  public static func load16(_ pointer: UnsafePointer<BFloat16>) -> SIMD16<Float> {
    let bits = UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<UInt16>.self)
    return unsafeBitCast(SIMD16<UInt32>(truncatingIfNeeded: bits) &<< 16, to: SIMD16<Float>.self)
  }
  /// Rounds to nearest even; NaN payloads are kept quiet by the rounding increment's mask.
  @inlinable @inline(__always)
  public static func store16(_ value: SIMD16<Float>, _ pointer: UnsafeMutablePointer<BFloat16>) {
    let bits = unsafeBitCast(value, to: SIMD16<UInt32>.self)
    let one = SIMD16<UInt32>(repeating: 1)
    var rounded = (bits &+ SIMD16(repeating: 0x7FFF) &+ ((bits &>> 16) & one)) &>> 16
    let isNaN = (bits & SIMD16(repeating: 0x7FFF_FFFF)) .> SIMD16(repeating: 0x7F80_0000)
    rounded.replace(with: (bits &>> 16) | SIMD16(repeating: 0x40), where: isNaN)
    UnsafeMutableRawPointer(pointer).storeBytes(
      of: SIMD16<UInt16>(truncatingIfNeeded: rounded), as: SIMD16<UInt16>.self)
  }
}

/// Memory of a rounding point, in either compute type.
public enum Operand: @unchecked Sendable {
  // Unchecked: a pointer into an owner's buffer; the team's threads touch disjoint ranges of it.
  case float32(UnsafeMutablePointer<Float>)
  case bfloat16(UnsafeMutablePointer<BFloat16>)

  @inlinable
  public func advanced(by count: Int) -> Operand {
    switch self {
    case .float32(let base): .float32(base + count)
    case .bfloat16(let base): .bfloat16(base + count)
    }
  }

  public var computeType: ComputeType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    }
  }
}

/// Owns an operand's memory.
public struct OperandBuffer: ~Copyable, Sendable {
  private let bytes: AlignedBuffer<UInt8>
  public let computeType: ComputeType
  public let count: Int

  public init(count: Int, computeType: ComputeType) {
    self.count = count
    self.computeType = computeType
    bytes = AlignedBuffer(count: count * computeType.byteCount)
  }

  public var operand: Operand {
    let raw = UnsafeMutableRawPointer(bytes.base)
    switch computeType {
    case .float32: return .float32(raw.assumingMemoryBound(to: Float.self))
    case .bfloat16: return .bfloat16(raw.assumingMemoryBound(to: BFloat16.self))
    }
  }
}

/// destination[i] = source[i], rounded to the operand's type.
public func round(_ source: UnsafePointer<Float>, into destination: Operand, count: Int) {
  switch destination {
  case .float32(let base): base.update(from: source, count: count)
  case .bfloat16(let base):
    #if arch(x86_64)
      if InstructionSet.current == .avx512 { return softgrpo_round_bf16_avx512(source, Int64(count), base.bits) }
    #endif
    softgrpo_round_bf16_baseline(source, Int64(count), base.bits)
  }
}

extension Operand? {
  /// The bf16 memory from element `offset` on as C sees it; nil without one.
  @inline(__always)
  func bfloat16Bits(at offset: Int) -> UnsafeMutablePointer<UInt16>? {
    if case .bfloat16(let base) = self { return (base + offset).bits }
    return nil
  }

  /// The fp32 memory from element `offset` on; nil without one.
  @inline(__always)
  func floats(at offset: Int) -> UnsafeMutablePointer<Float>? {
    if case .float32(let base) = self { return base + offset }
    return nil
  }
}

/// destination[i] = Float(source[i]).
public func widen(_ source: UnsafePointer<BFloat16>, into destination: UnsafeMutablePointer<Float>, count: Int) {
  var index = 0
  while index + 16 <= count {
    Float.store16(BFloat16.load16(source + index), destination + index)
    index += 16
  }
  while index < count {
    destination[index] = Float(source[index])
    index += 1
  }
}

/// Sum of sixteen lanes along one fixed tree.
@inlinable @inline(__always)
public func laneSum(_ value: SIMD16<Float>) -> Float {
  let eight = value.lowHalf + value.highHalf
  let four = eight.lowHalf + eight.highHalf
  let two = four.lowHalf + four.highHalf
  return two.x + two.y
}

@inlinable @inline(__always)
public func multiplyAdd(_ a: SIMD16<Float>, _ b: SIMD16<Float>, _ c: SIMD16<Float>) -> SIMD16<Float> {
  c.addingProduct(a, b)
}

/// to[i] += from[i].
@inline(__always)
func addRow(_ from: UnsafePointer<Float>, to: UnsafeMutablePointer<Float>, count: Int) {
  var index = 0
  while index + 16 <= count {
    Float.store16(Float.load16(to + index) + Float.load16(from + index), to + index)
    index += 16
  }
  while index < count {
    to[index] += from[index]
    index += 1
  }
}
