import Kernels
import Synchronization

/// What names a delta: the step of the chain that it makes, and its bytes.
public struct DeltaDescription: Sendable, Equatable {
  /// The version that it is applied to.
  public let parent: Digest
  /// The version that it leads to.
  public let version: Int
  public let identity: Digest
  /// Root of the Merkle tree over the delta's bytes.
  public let root: Digest
  public let byteCount: Int

  public init(parent: Digest, version: Int, identity: Digest, root: Digest, byteCount: Int) {
    self.parent = parent
    self.version = version
    self.identity = identity
    self.root = root
    self.byteCount = byteCount
  }
}

/// The difference between a version and its parent, as it travels: encoded by the learner, passed on by relays, applied by
/// workers. Lossless; `DeltaFormat` says how.
public struct WeightDelta: Sendable {
  public let description: DeltaDescription
  /// Hashes of the Merkle tree's leaves.
  public let leaves: [Digest]
  /// Weights whose bits changed, and all weights.
  public let changedCount: Int
  public let weightCount: Int
  public let bytes: [UInt8]

  /// Two versions compared.
  public struct Comparison: Sendable {
    /// Nil: it would be too large to be worth sending.
    public var delta: WeightDelta?
    public var changedCount: Int
    public var weightCount: Int

    /// Share of the weights that changed.
    public var density: Double { Double(changedCount) / Double(max(1, weightCount)) }
  }

  /// Bytes beyond which a delta is not offered: it spares a link little and takes time at both ends.
  public static func byteLimit(for snapshot: WeightSnapshot) -> Int { snapshot.byteCount / 4 }

  /// Compares a version with its parent.
  ///
  /// - Parameters:
  ///   - limit: bytes that the delta may have: a larger one is not worth sending.
  ///   - team: encodes sections.
  /// - Returns: nil when they are not bf16 weights of a version and its parent.
  public static func encode(
    from parent: WeightSnapshot, to snapshot: WeightSnapshot, limit: Int, team: ThreadTeam
  ) -> Comparison? {
    guard snapshot.description.parent == parent.description.identity, snapshot.byteCount == parent.byteCount,
      snapshot.byteCount % 2 == 0, snapshot.description.adapter == nil, parent.description.adapter == nil
    else { return nil }
    return parent.withWeights { old in
      snapshot.withWeights { new in
        encode(old, new, description: snapshot.description, sectionSize: DeltaFormat.sectionWeightCount, limit, team)
      }
    }
  }

  static func encode(
    _ old: UnsafeBufferPointer<BFloat16>, _ new: UnsafeBufferPointer<BFloat16>, description: VersionDescription,
    sectionSize: Int, _ limit: Int, _ team: ThreadTeam
  ) -> Comparison {
    let count = old.count
    let sectionCount = DeltaFormat.sectionCount(weights: count, ofSection: sectionSize)
    var sections = [(changed: Int, payload: [UInt8])](repeating: (0, []), count: sectionCount)
    let total = Atomic<Int>(DeltaFormat.headerByteCount + sectionCount * DeltaFormat.entryByteCount)
    nonisolated(unsafe) let a = UnsafeRawPointer(old.baseAddress!).assumingMemoryBound(to: UInt16.self)
    nonisolated(unsafe) let b = UnsafeRawPointer(new.baseAddress!).assumingMemoryBound(to: UInt16.self)
    let workspaces = DeltaWorkspaces(team)
    sections.withUnsafeMutableBufferPointer { sections in
      nonisolated(unsafe) let sections = sections
      team.run(sectionCount) { index, thread in
        let start = index * sectionSize
        // Too large already: the rest is only counted.
        if total.load(ordering: .relaxed) > limit {
          sections[index].changed = DeltaSectionEncoder(
            old: a + start, new: b + start, count: min(sectionSize, count - start)
          ).changedCount(scratch: workspaces.scratch(thread))
          return
        }
        let encoder = DeltaSectionEncoder(old: a + start, new: b + start, count: min(sectionSize, count - start))
        sections[index] = encoder.encode(workspaces.zstandard[thread], scratch: workspaces.scratch(thread))
        total.add(sections[index].payload.count, ordering: .relaxed)
      }
    }
    let byteCount = total.load(ordering: .relaxed)
    let changed = sections.reduce(0) { $0 + $1.changed }
    guard byteCount <= limit else { return Comparison(delta: nil, changedCount: changed, weightCount: count) }
    var bytes = DeltaFormat.magic
    bytes.reserveCapacity(byteCount)
    bytes.append(littleEndian: UInt64(count))
    bytes.append(littleEndian: UInt64(changed))
    bytes.append(littleEndian: UInt32(sectionSize))
    bytes.append(littleEndian: UInt32(sectionCount))
    for section in sections {
      bytes.append(littleEndian: UInt32(section.changed))
      bytes.append(littleEndian: UInt32(section.payload.count))
    }
    for section in sections { bytes += section.payload }
    let leaves = bytes.withUnsafeBytes { VersionHash.leaves(of: $0, team: team) }
    let delta = WeightDelta(
      description: DeltaDescription(
        parent: description.parent, version: description.version, identity: description.identity,
        root: VersionHash.root(ofLeaves: leaves), byteCount: bytes.count),
      leaves: leaves, changedCount: changed, weightCount: count, bytes: bytes)
    return Comparison(delta: delta, changedCount: changed, weightCount: count)
  }

  /// A delta that was received and whose bytes are those of `description`; its header is checked, its sections are when they are
  /// applied.
  ///
  /// - Throws: `WeightSyncError` when it does not begin as a delta does.
  public init(received description: DeltaDescription, leaves: [Digest], bytes: [UInt8]) throws {
    let header = try bytes.withUnsafeBytes { try DeltaHeader($0) }
    self.init(
      description: description, leaves: leaves, changedCount: header.changedCount, weightCount: header.weightCount,
      bytes: bytes)
  }

  init(description: DeltaDescription, leaves: [Digest], changedCount: Int, weightCount: Int, bytes: [UInt8]) {
    self.description = description
    self.leaves = leaves
    self.changedCount = changedCount
    self.weightCount = weightCount
    self.bytes = bytes
  }
}

/// The front of a delta, checked: sections that follow each other to the last byte.
struct DeltaHeader {
  struct Section {
    var changed: Int
    var payload: Range<Int>
  }

  let weightCount: Int
  let changedCount: Int
  let sectionSize: Int
  var sections: [Section] = []

  /// - Throws: `WeightSyncError` when sizes contradict each other.
  init(_ bytes: UnsafeRawBufferPointer) throws {
    var cursor = DeltaCursor(bytes)
    guard try cursor.take(DeltaFormat.magic.count).elementsEqual(DeltaFormat.magic) else {
      throw WeightSyncError("this is not a delta of this generation")
    }
    let counts = try (cursor.integer(UInt64.self), cursor.integer(UInt64.self))
    let sizes = try (Int(cursor.integer(UInt32.self)), Int(cursor.integer(UInt32.self)))
    guard counts.0 > 0, counts.0 < 1 << 48, counts.1 <= counts.0, sizes.0 > 0,
      sizes.0 <= DeltaFormat.sectionWeightCount,
      sizes.0 % DeltaFormat.leafWeightCount == 0
    else { throw WeightSyncError("a delta has impossible sizes") }
    (weightCount, changedCount, sectionSize) = (Int(counts.0), Int(counts.1), sizes.0)
    guard sizes.1 == DeltaFormat.sectionCount(weights: weightCount, ofSection: sectionSize),
      cursor.remaining / DeltaFormat.entryByteCount >= sizes.1
    else { throw WeightSyncError("a delta of \(weightCount) weights has \(sizes.1) sections") }
    var offset = DeltaFormat.headerByteCount + sizes.1 * DeltaFormat.entryByteCount
    var left = changedCount
    for index in 0..<sizes.1 {
      let (changed, byteCount) = try (Int(cursor.integer(UInt32.self)), Int(cursor.integer(UInt32.self)))
      guard changed <= min(sectionSize, weightCount - index * sectionSize), changed <= left,
        byteCount <= bytes.count - offset, (changed == 0) == (byteCount == 0)
      else { throw WeightSyncError("section \(index) of a delta has impossible sizes") }
      sections.append(Section(changed: changed, payload: offset..<offset + byteCount))
      left -= changed
      offset += byteCount
    }
    guard left == 0, offset == bytes.count else {
      throw WeightSyncError("the sections of a delta are not the whole of it")
    }
  }
}

/// What each thread needs to code sections.
struct DeltaWorkspaces: @unchecked Sendable {
  // Unchecked: each thread touches its own element.
  let zstandard: [Zstandard]
  private let positions: PositionBuffer

  private final class PositionBuffer {
    let buffer: AlignedBuffer<UInt32>
    init(count: Int) { buffer = AlignedBuffer(count: count, zeroed: false) }
  }

  init(_ team: ThreadTeam) {
    zstandard = (0..<team.threadCount).map { _ in Zstandard() }
    positions = PositionBuffer(count: team.threadCount * 2 * DeltaFormat.blockWeightCount)
  }

  func scratch(_ thread: Int) -> UnsafeMutablePointer<UInt32> {
    positions.buffer.base + thread * 2 * DeltaFormat.blockWeightCount
  }
}

extension WeightDelta {
  public var chunkCount: Int { WeightSnapshot.chunkCount(byteCount: bytes.count) }

  /// A copy of one chunk; `nil` when there is no such chunk.
  public func chunk(_ index: Int) -> [UInt8]? {
    guard index >= 0, index < chunkCount else { return nil }
    let start = index * WeightSnapshot.chunkByteCount
    return Array(bytes[start..<min(start + WeightSnapshot.chunkByteCount, bytes.count)])
  }

  /// All leaf hashes in one array: the wire's manifest.
  public var manifest: [UInt8] { leaves.flatMap(\.bytes) }
}
