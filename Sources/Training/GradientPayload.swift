import Kernels

/// A gradient as the bytes that travel: little-endian numbers of its type, in the order of the layout.
public final class GradientPayload: @unchecked Sendable {
  // Unchecked: written by one thread at a time, who passes it on.
  public let type: GradientType
  /// Numbers.
  public let count: Int
  /// fp32: the gradient's own memory.
  private let buffer: GradientBuffer?
  private let halves: Halves?

  private final class Halves {
    let buffer: AlignedBuffer<BFloat16>
    init(count: Int) { buffer = AlignedBuffer(count: count, zeroed: false) }
  }

  public var byteCount: Int { count * type.byteCount }
  public var bytes: UnsafeMutableRawBufferPointer {
    let base = buffer.map { UnsafeMutableRawPointer($0.values) } ?? UnsafeMutableRawPointer(halves!.buffer.base)
    return UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }

  /// Memory for bytes to come.
  public init(count: Int, type: GradientType) {
    self.type = type
    self.count = count
    buffer = type == .float32 ? GradientBuffer(count: count) : nil
    halves = type == .bfloat16 ? Halves(count: count) : nil
  }

  /// The bytes of a gradient that is rounded to `type`; fp32 ones are the buffer's, which is then the payload's.
  public init(_ gradient: GradientBuffer, type: GradientType, team: ThreadTeam) {
    self.type = type
    count = gradient.count
    switch type {
    case .float32: (buffer, halves) = (gradient, nil)
    case .bfloat16:
      let halves = Halves(count: gradient.count)
      (buffer, self.halves) = (nil, halves)
      nonisolated(unsafe) let (from, to) = (UnsafePointer(gradient.values), halves.buffer.base)
      team.forEachRange(count, grain: 1 << 18) { range, _ in
        Kernels.round(from + range.lowerBound, into: .bfloat16(to + range.lowerBound), count: range.count)
      }
    }
  }

  /// The gradient that the bytes say; fp32 ones become the buffer's memory.
  public func gradient(team: ThreadTeam) -> GradientBuffer {
    if let buffer { return buffer }
    let result = GradientBuffer(count: count)
    nonisolated(unsafe) let (from, to) = (UnsafePointer(halves!.buffer.base), result.values)
    team.forEachRange(count, grain: 1 << 18) { range, _ in
      widen(from + range.lowerBound, into: to + range.lowerBound, count: range.count)
    }
    return result
  }
}
