/// The merges of a byte-pair encoding: which two tokens join, in what order of preference, into which token.
struct MergeTable: Sendable {
  struct Merge: Sendable {
    /// Smaller ranks are merged first.
    var rank: UInt32
    /// The id of the joined token.
    var token: Int32
  }

  private var keys: [UInt64]
  private var merges: [Merge]
  private var used = 0

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    keys = Array(repeating: .max, count: size)
    merges = Array(repeating: Merge(rank: 0, token: 0), count: size)
  }

  private func slot(of key: UInt64) -> Int {
    let mask = keys.count - 1
    var mixed = key &* 0x9E37_79B9_7F4A_7C15
    mixed ^= mixed >> 32
    var slot = Int(truncatingIfNeeded: mixed) & mask
    while keys[slot] != .max, keys[slot] != key { slot = (slot + 1) & mask }
    return slot
  }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// Records a merge; a pair listed twice keeps its later rank, as `tokenizers` does.
  /// - Precondition: at most `capacity` distinct pairs are recorded.
  mutating func insert(_ left: Int32, _ right: Int32, _ merge: Merge) {
    let key = Self.key(left, right)
    let slot = slot(of: key)
    if keys[slot] == .max { used += 1 }
    precondition(used < keys.count, "merge table overfull")
    keys[slot] = key
    merges[slot] = merge
  }

  /// The merge of two neighbouring tokens, if there is one.
  func merge(_ left: Int32, _ right: Int32) -> Merge? {
    let key = Self.key(left, right)
    let slot = slot(of: key)
    return keys[slot] == key ? merges[slot] : nil
  }
}
