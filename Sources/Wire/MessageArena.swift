import CProtobufC
import CWireMessages
import Glibc

/// Memory of the C messages of one encoding: everything handed out lives until the arena ends.
struct MessageArena: ~Copyable {
  private var blocks: [UnsafeMutableRawPointer] = []

  deinit { for block in blocks { block.deallocate() } }

  /// A C message set up by its generated `init` function.
  mutating func message<Body>(_ initialise: (UnsafeMutablePointer<Body>?) -> Void) -> UnsafeMutablePointer<Body> {
    let pointer = UnsafeMutablePointer<Body>.allocate(capacity: 1)
    blocks.append(UnsafeMutableRawPointer(pointer))
    initialise(pointer)
    return pointer
  }

  /// A NUL-terminated copy.
  mutating func string(_ text: String) -> UnsafeMutablePointer<CChar> {
    let bytes = Array(text.utf8CString)
    return array(bytes)!
  }

  /// A copy; `nil` for an empty array.
  mutating func array<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeMutablePointer<Element>? {
    guard !elements.isEmpty else { return nil }
    let pointer = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
    blocks.append(UnsafeMutableRawPointer(pointer))
    pointer.initialize(from: elements, count: elements.count)
    return pointer
  }

  /// The finished frame. A method of the arena, so that no message ends before it is packed.
  mutating func pack(_ envelope: UnsafeMutablePointer<Softgrpo__Envelope>) -> [UInt8] {
    let byteCount = softgrpo__envelope__get_packed_size(envelope)
    return [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
      count = softgrpo__envelope__pack(envelope, buffer.baseAddress)
    }
  }

  mutating func bytes(_ bytes: [UInt8]) -> ProtobufCBinaryData {
    ProtobufCBinaryData(len: bytes.count, data: array(bytes))
  }
}

/// A parsed C envelope. Parsing may allocate a bounded multiple of the frame's size: nested empty messages must not turn a
/// small frame into a large heap.
struct ParsedEnvelope: ~Copyable {
  private let pointer: UnsafeMutablePointer<Softgrpo__Envelope>

  /// - Throws: `WireError` when the bytes are not a canonical envelope: unknown fields, duplicates, NUL inside a string,
  ///   packed fields written unpacked and the like change the size that re-packing would give.
  init(_ frame: [UInt8]) throws {
    var budget = 1 << 16 + frame.count * 32
    let parsed = withUnsafeMutablePointer(to: &budget) { budget in
      var allocator = ProtobufCAllocator(
        alloc: { data, size in
          guard let budget = data?.assumingMemoryBound(to: Int.self), size <= budget.pointee else { return nil }
          budget.pointee -= size
          return malloc(max(size, 1))
        },
        free: { _, pointer in free(pointer) },
        allocator_data: UnsafeMutableRawPointer(budget))
      return softgrpo__envelope__unpack(&allocator, frame.count, frame)
    }
    guard let parsed else { throw WireError("the envelope is not valid protobuf (\(frame.count) bytes)") }
    guard softgrpo__envelope__get_packed_size(parsed) == frame.count, parsed.pointee.base.n_unknown_fields == 0 else {
      softgrpo__envelope__free_unpacked(parsed, nil)
      throw WireError("the envelope is not in canonical form (\(frame.count) bytes)")
    }
    pointer = parsed
  }

  /// Lends the C message; its pointers end with the call.
  func read<Result>(_ body: (Softgrpo__Envelope) throws -> Result) rethrows -> Result { try body(pointer.pointee) }

  // The blocks came from malloc, so the library's own allocator frees them.
  deinit { softgrpo__envelope__free_unpacked(pointer, nil) }
}
