import CVectorKernels

/// Reads one section of a delta (`DeltaFormat`) and applies it in place. Nothing in it is believed.
struct DeltaSectionDecoder {
  /// Runs of a class's members and the member after each.
  private struct Runs {
    let bytes: [UInt8]
    var next = 0
    /// Members left of the run; nil: it lasts to the end.
    var left: Int?

    init(_ bytes: [UInt8]) throws {
      self.bytes = bytes
      left = 0
      try advance()
    }

    mutating func advance() throws {
      guard next < bytes.count else { return left = nil }
      var length = 0
      while bytes[next] == 255 {
        length += 255
        next += 1
        guard next < bytes.count else { throw WeightSyncError("a delta has a run without an end") }
      }
      left = length + Int(bytes[next])
      next += 1
    }
  }

  private struct Values {
    let bytes: [UInt8]
    var next = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    @inline(__always)
    mutating func take(_ wide: inout WideValues) throws -> UInt16 {
      guard next < bytes.count else { throw WeightSyncError("a delta has fewer values than changes") }
      let byte = bytes[next]
      next += 1
      return byte < 255 ? UInt16(byte) : try wide.take()
    }
  }

  private struct WideValues {
    let low: [UInt8]
    let high: [UInt8]
    var next = 0

    mutating func take() throws -> UInt16 {
      guard next < low.count else { throw WeightSyncError("a delta has fewer wide values than it names") }
      let rest = UInt16(low[next]) | UInt16(high[next]) << 8
      next += 1
      // 65,535 would be no change.
      guard rest < 65_535 - 255 else { throw WeightSyncError("a delta has a value out of range") }
      return rest + 255
    }
  }

  private let limit: Int
  private let classCount: Int
  private let shift: Int
  private let flips: UInt32
  private var runs: [Runs] = []
  private var values: [Values] = []
  private let lowBits: [UInt8]
  private let quotients: [UInt8]
  private var otherValues: Values
  private var wide: WideValues
  private var nextQuotient = 0
  private var nextGap = 0
  private let count: Int

  /// Reads the payload's streams and checks that their sizes fit each other.
  ///
  /// - Parameters:
  ///   - changed: changes that the section must have.
  ///   - count: weights of the section.
  /// - Throws: `WeightSyncError` for whatever is not a section of this many weights.
  init(_ payload: UnsafeRawBufferPointer, changed: Int, count: Int, _ zstandard: Zstandard) throws {
    self.count = count
    var cursor = DeltaCursor(payload)
    limit = Int(try cursor.integer(UInt8.self))
    classCount = Int(try cursor.integer(UInt8.self))
    shift = Int(try cursor.integer(UInt8.self))
    flips = try cursor.integer(UInt32.self)
    guard limit <= 255, classCount <= min(limit, DeltaFormat.classLimit), (classCount == 0) == (limit == 0),
      shift <= 20,
      flips >> UInt32(classCount) == 0
    else { throw WeightSyncError("a delta has a section with impossible classes") }
    var (runBytes, valueCount) = (0, 0)
    for _ in 0..<classCount {
      let stream = try cursor.stream(limit: count - runBytes, zstandard)
      runBytes += stream.count
      runs.append(try Runs(stream))
      values.append(Values(try cursor.stream(limit: changed - valueCount, zstandard)))
      valueCount += values[values.count - 1].bytes.count
    }
    lowBits = try cursor.stream(limit: ((changed - valueCount) * shift + 7) / 8, zstandard)
    quotients = try cursor.stream(limit: changed - valueCount + count / 255, zstandard)
    otherValues = Values(try cursor.stream(limit: changed - valueCount, zstandard))
    let others = otherValues.bytes.count
    let low = try cursor.stream(limit: changed, zstandard)
    wide = WideValues(low: low, high: try cursor.stream(limit: changed, zstandard))
    guard cursor.remaining == 0, valueCount + others == changed, lowBits.count == (others * shift + 7) / 8,
      quotients.isEmpty == (others == 0), wide.low.count == wide.high.count
    else { throw WeightSyncError("a delta has a section whose streams do not fit each other") }
  }

  /// - Parameters:
  ///   - weights: the section; the parent's, then the new version's.
  ///   - scratch: room for a block's positions.
  /// - Throws: `WeightSyncError` when the section does not fit; the weights are useless then.
  mutating func apply(to weights: UnsafeMutablePointer<UInt16>, scratch: UnsafeMutablePointer<UInt32>) throws {
    var position = try nextOther(after: 0)
    for start in stride(from: 0, to: count, by: DeltaFormat.blockWeightCount) {
      let end = min(start + DeltaFormat.blockWeightCount, count)
      let block = weights + start
      if limit > 0 {
        let members = Int(
          softgrpo_small_positions(block, Int64(end - start), UInt16(limit << 7), scratch))
        for index in 0..<members {
          let target = block + Int(scratch[index])
          let member = DeltaFormat.smallClass(target.pointee, limit: limit, classCount: classCount)
          var isChanged = flips >> UInt32(member) & 1 == 1
          if let left = runs[member].left {
            if left > 0 {
              runs[member].left = left - 1
            } else {
              isChanged.toggle()
              try runs[member].advance()
            }
          }
          if isChanged {
            target.pointee = DeltaFormat.apply(try values[member].take(&wide), to: target.pointee)
          }
        }
      }
      while let current = position, current < end {
        guard weights[current] & 0x7FFF >= UInt16(limit << 7) else {
          throw WeightSyncError("a delta has a small weight among the others")
        }
        weights[current] = DeltaFormat.apply(try otherValues.take(&wide), to: weights[current])
        position = try nextOther(after: current + 1)
      }
    }
    let isUsedUp =
      position == nil && otherValues.next == otherValues.bytes.count && wide.next == wide.low.count
      && runs.allSatisfy { $0.left == nil } && values.allSatisfy { $0.next == $0.bytes.count }
    guard isUsedUp else { throw WeightSyncError("a delta has more changes than its parent has weights for") }
  }

  /// The next changed position among the others; nil at their end.
  private mutating func nextOther(after next: Int) throws -> Int? {
    guard nextQuotient < quotients.count else { return nil }
    var quotient = 0
    while quotients[nextQuotient] == 255 {
      quotient += 255
      nextQuotient += 1
      guard nextQuotient < quotients.count else { throw WeightSyncError("a delta has a gap without an end") }
    }
    quotient += Int(quotients[nextQuotient])
    nextQuotient += 1
    guard nextGap < otherValues.bytes.count, quotient <= count >> shift else {
      throw WeightSyncError("a delta has a gap that leads out of its section")
    }
    let position = next + (quotient << shift | low(nextGap))
    nextGap += 1
    guard position < count else { throw WeightSyncError("a delta has a gap that leads out of its section") }
    return position
  }

  private func low(_ index: Int) -> Int {
    if shift == 0 { return 0 }
    let first = index * shift
    var (word, taken) = (0, 0)
    for byte in first / 8...(first + shift - 1) / 8 {
      word |= Int(lowBits[byte]) << taken
      taken += 8
    }
    return word >> (first % 8) & (1 << shift - 1)
  }
}
