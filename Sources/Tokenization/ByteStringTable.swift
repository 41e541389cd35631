/// Byte strings numbered in order of insertion, found again by content.
///
/// One arena and an open-addressing index instead of a dictionary of arrays: a vocabulary has 50,000 to 150,000
/// entries and every word of a text is looked up.
struct ByteStringTable: Sendable {
  private var arena: [UInt8] = []
  private var starts: [Int] = [0]
  private var slots: [Int32]

  var count: Int { starts.count - 1 }

  init(capacity: Int = 0) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    slots = Array(repeating: -1, count: size)
    starts.reserveCapacity(capacity + 1)
  }

  subscript(index: Int) -> ArraySlice<UInt8> { arena[starts[index]..<starts[index + 1]] }

  private static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
    var state: UInt64 = 0xCBF2_9CE4_8422_2325 ^ UInt64(truncatingIfNeeded: bytes.count)
    for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return Int(truncatingIfNeeded: (state ^ (state >> 29)) >> 1)
  }

  private func slot(of bytes: UnsafeBufferPointer<UInt8>) -> Int {
    let mask = slots.count - 1
    var slot = Self.hash(bytes) & mask
    return arena.withUnsafeBufferPointer { arena in
      while slots[slot] >= 0 {
        let index = Int(slots[slot])
        let entry = arena[starts[index]..<starts[index + 1]]
        if entry.count == bytes.count, entry.elementsEqual(bytes) { break }
        slot = (slot + 1) & mask
      }
      return slot
    }
  }

  /// The number of a byte string, or nil.
  func index(of bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    let found = slots[slot(of: bytes)]
    return found >= 0 ? Int(found) : nil
  }

  /// The number of a byte string, or nil.
  func index(of bytes: some Sequence<UInt8>) -> Int? {
    if let found = bytes.withContiguousStorageIfAvailable({ index(of: $0) }) { return found }
    return Array(bytes).withUnsafeBufferPointer { index(of: $0) }
  }

  /// Adds a byte string; nil when it is there already.
  mutating func insert(_ bytes: [UInt8]) -> Int? {
    if (count + 1) * 2 > slots.count { grow() }
    let free = bytes.withUnsafeBufferPointer { slot(of: $0) }
    guard slots[free] < 0 else { return nil }
    slots[free] = Int32(count)
    arena.append(contentsOf: bytes)
    starts.append(arena.count)
    return count - 1
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 2)
    for index in 0..<count {
      let free = Array(self[index]).withUnsafeBufferPointer { slot(of: $0) }
      slots[free] = Int32(index)
    }
  }
}
