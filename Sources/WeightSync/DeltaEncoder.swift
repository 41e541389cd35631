import CVectorKernels

/// Writes one section of a delta (`DeltaFormat`).
struct DeltaSectionEncoder {
  /// Exponents of weights and of changes among them, from a part of the section.
  private struct Census {
    var weights = [Int](repeating: 0, count: 256)
    var changes = [Int](repeating: 0, count: 256)
  }

  /// Values that are written a byte each, and those that need more.
  private struct Values {
    var bytes: [UInt8] = []

    mutating func append(_ value: UInt16, _ wide: inout (low: [UInt8], high: [UInt8])) {
      if value < 255 { return bytes.append(UInt8(value)) }
      bytes.append(255)
      wide.low.append(UInt8(truncatingIfNeeded: value &- 255))
      wide.high.append(UInt8((value &- 255) >> 8))
    }
  }

  private let old: UnsafePointer<UInt16>
  private let new: UnsafePointer<UInt16>
  private let count: Int
  /// A small member pays when at least one in so many changes.
  private static let membersPerChange = 16
  private static let longestShift = 20

  init(old: UnsafePointer<UInt16>, new: UnsafePointer<UInt16>, count: Int) {
    self.old = old
    self.new = new
    self.count = count
  }

  /// - Parameter scratch: room for two blocks' positions.
  /// - Returns: the number of changed weights and the payload, empty when there are none.
  func encode(_ zstandard: Zstandard, scratch: UnsafeMutablePointer<UInt32>) -> (changed: Int, payload: [UInt8]) {
    let census = takeCensus()
    let limit = Self.limit(census)
    let classCount = min(limit, DeltaFormat.classLimit)
    var isFlipped = [Bool](repeating: false, count: classCount)
    for index in 0..<classCount {
      let exponents = index == classCount - 1 ? 0...(limit - 1 - index) : (limit - 1 - index)...(limit - 1 - index)
      let members = exponents.reduce(0) { $0 + census.weights[$1] }
      isFlipped[index] = exponents.reduce(0) { $0 + census.changes[$1] } * 2 > members
    }

    let (changes, members) = (scratch, scratch + DeltaFormat.blockWeightCount)
    var changed = 0
    var run = [Int](repeating: 0, count: classCount)
    var runs = [[UInt8]](repeating: [], count: classCount)
    var values = [Values](repeating: Values(), count: classCount)
    var wide: (low: [UInt8], high: [UInt8]) = ([], [])
    var gaps: [UInt32] = []
    var otherValues = Values()
    var next = 0
    let bound = UInt16(limit << 7)
    for start in stride(from: 0, to: count, by: DeltaFormat.blockWeightCount) {
      let block = min(DeltaFormat.blockWeightCount, count - start)
      let (a, b) = (old + start, new + start)
      let changeCount = Int(softgrpo_changed_positions(a, b, Int64(block), changes))
      changed += changeCount
      if limit > 0 {
        let memberCount = Int(softgrpo_small_positions(a, Int64(block), bound, members))
        for index in 0..<memberCount {
          let position = Int(members[index])
          let (before, after) = (a[position], b[position])
          let member = DeltaFormat.smallClass(before, limit: limit, classCount: classCount)
          if (before != after) == isFlipped[member] {
            run[member] += 1
          } else {
            Self.append(run[member], to: &runs[member])
            run[member] = 0
          }
          if before != after { values[member].append(DeltaFormat.value(from: before, to: after), &wide) }
        }
      }
      for index in 0..<changeCount {
        let position = Int(changes[index])
        let before = a[position]
        if before & 0x7FFF < bound { continue }
        gaps.append(UInt32(start + position - next))
        next = start + position + 1
        otherValues.append(DeltaFormat.value(from: before, to: b[position]), &wide)
      }
    }
    if changed == 0 { return (0, []) }

    var payload: [UInt8] = []
    let shift = Self.shift(gaps.count, of: count)
    payload += [UInt8(limit), UInt8(classCount), UInt8(shift)]
    var flips: UInt32 = 0
    for index in 0..<classCount where isFlipped[index] { flips |= 1 << UInt32(index) }
    payload.append(littleEndian: flips)
    for index in 0..<classCount {
      payload.append(stream: runs[index], zstandard)
      payload.append(stream: values[index].bytes, zstandard)
    }
    var quotients: [UInt8] = []
    quotients.reserveCapacity(gaps.count + gaps.count / 16)
    for gap in gaps { Self.append(Int(gap) >> shift, to: &quotients) }
    payload.append(stream: Self.pack(gaps, bits: shift), zstandard)
    payload.append(stream: quotients, zstandard)
    payload.append(stream: otherValues.bytes, zstandard)
    payload.append(stream: wide.low, zstandard)
    payload.append(stream: wide.high, zstandard)
    return (changed, payload)
  }

  func changedCount(scratch: UnsafeMutablePointer<UInt32>) -> Int {
    stride(from: 0, to: count, by: DeltaFormat.blockWeightCount).reduce(0) { sum, start in
      let block = min(DeltaFormat.blockWeightCount, count - start)
      return sum + Int(softgrpo_changed_positions(old + start, new + start, Int64(block), scratch))
    }
  }

  private static func append(_ length: Int, to bytes: inout [UInt8]) {
    var rest = length
    while rest >= 255 {
      bytes.append(255)
      rest -= 255
    }
    bytes.append(UInt8(rest))
  }

  /// Every eighth piece of 4,096 weights.
  private func takeCensus() -> Census {
    var census = Census()
    let piece = 4096
    census.weights.withUnsafeMutableBufferPointer { weights in
      census.changes.withUnsafeMutableBufferPointer { changes in
        for start in stride(from: 0, to: count, by: 8 * piece) {
          for index in start..<min(start + piece, count) {
            let exponent = Int(old[index] >> 7 & 0xFF)
            weights[exponent] += 1
            changes[exponent] += old[index] == new[index] ? 0 : 1
          }
        }
      }
    }
    return census
  }

  /// The exponent below which weights are small.
  private static func limit(_ census: Census) -> Int {
    var (limit, weights, changes) = (0, 0, 0)
    for exponent in 0..<255 {
      weights += census.weights[exponent]
      changes += census.changes[exponent]
      if changes > 0, changes * membersPerChange >= weights {
        limit = exponent + 1
        (weights, changes) = (0, 0)
      }
    }
    return limit
  }

  /// Low bits of a gap that are as good as random; the rest then has some ten values, which compress to their entropy.
  private static func shift(_ gaps: Int, of count: Int) -> Int {
    guard gaps > 0 else { return 0 }
    let mean = count / gaps
    return min(longestShift, max(0, Int.bitWidth - mean.leadingZeroBitCount - 4))
  }

  private static func pack(_ gaps: [UInt32], bits: Int) -> [UInt8] {
    if bits == 0 { return [] }
    var bytes: [UInt8] = []
    bytes.reserveCapacity((gaps.count * bits + 7) / 8)
    var (word, filled) = (UInt64(0), 0)
    for gap in gaps {
      word |= UInt64(gap & (1 << UInt32(bits) - 1)) << UInt64(filled)
      filled += bits
      while filled >= 8 {
        bytes.append(UInt8(truncatingIfNeeded: word))
        word >>= 8
        filled -= 8
      }
    }
    if filled > 0 { bytes.append(UInt8(truncatingIfNeeded: word)) }
    return bytes
  }
}
