/// Puts a version, or a delta, together from chunks that come in any order, more than once, or broken. Nothing that does not verify is
/// ever handed out: a leaf whose hash is wrong is thrown away and asked for again.
///
///     let assembler = try SnapshotAssembler(description)
///     try assembler.receive(manifest: leaves)
///     while !assembler.isComplete {
///       for request in assembler.requests(window: 16) { …ask… }
///       try assembler.receive(chunk: index, bytes)
///     }
///     let snapshot = try assembler.finish()
public final class SnapshotAssembler {
  private enum ChunkState: UInt8 {
    case missing
    case requested
    case received
    case verified
  }

  /// What is being put together.
  public enum Subject: Sendable, Equatable {
    case version(VersionDescription)
    case delta(DeltaDescription)

    public var version: Int {
      switch self {
      case .version(let description): description.version
      case .delta(let description): description.version
      }
    }

    public var isDelta: Bool {
      if case .delta = self { return true }
      return false
    }

    var root: Digest {
      switch self {
      case .version(let description): description.root
      case .delta(let description): description.root
      }
    }

    var byteCount: Int {
      switch self {
      case .version(let description): description.byteCount
      case .delta(let description): description.byteCount
      }
    }

    var name: String { isDelta ? "the delta to version \(version)" : "version \(version)" }
  }

  public let subject: Subject
  private let byteCount: Int
  private let buffer: WeightBuffer
  private var leaves: [Digest] = []
  private var states: [ChunkState]
  private var requestedCount = 0
  private var verifiedCount = 0
  /// No chunk before this one is missing.
  private var cursor = 0

  private static let chunksPerLeaf = VersionHash.leafByteCount / WeightSnapshot.chunkByteCount

  /// - Parameter byteCountLimit: refuses larger versions before any memory is taken.
  /// - Throws: `WeightSyncError` when the version is too large.
  public convenience init(_ description: VersionDescription, byteCountLimit: Int = 1 << 40) throws {
    try self.init(.version(description), byteCountLimit: byteCountLimit)
  }

  /// - Parameter byteCountLimit: refuses what is larger before any memory is taken.
  /// - Throws: `WeightSyncError` when there are too many bytes.
  public init(_ subject: Subject, byteCountLimit: Int = 1 << 40) throws {
    byteCount = subject.byteCount
    guard byteCount <= byteCountLimit else {
      throw WeightSyncError("\(subject.name) has \(byteCount) bytes, more than the limit of \(byteCountLimit)")
    }
    self.subject = subject
    buffer = try WeightBuffer(byteCount: byteCount)
    states = Array(repeating: .missing, count: WeightSnapshot.chunkCount(byteCount: byteCount))
    // The only leaf of a small one is its root.
    if VersionHash.leafCount(byteCount: byteCount) == 1 { leaves = [subject.root] }
  }

  /// False from the beginning when there is one leaf: its hash is known.
  public var needsManifest: Bool { leaves.isEmpty }
  public var isComplete: Bool { verifiedCount == states.count }
  /// Chunks asked for that have not arrived.
  public var outstandingCount: Int { requestedCount }
  /// Verified share of the chunks, for progress.
  public var fraction: Double { Double(verifiedCount) / Double(states.count) }

  /// Takes the leaf hashes.
  /// - Throws: `WeightSyncError` when they do not lead to the announced root; ask again.
  public func receive(manifest: [UInt8]) throws {
    guard needsManifest else { return }
    let expected = VersionHash.leafCount(byteCount: byteCount)
    guard manifest.count == expected * Digest.byteCount else {
      throw WeightSyncError(
        "the manifest of \(subject.name) has \(manifest.count) bytes, not \(expected * Digest.byteCount)"
      )
    }
    let leaves = stride(from: 0, to: manifest.count, by: Digest.byteCount).map {
      Digest(unchecked: Array(manifest[$0..<$0 + Digest.byteCount]))
    }
    guard VersionHash.root(ofLeaves: leaves) == subject.root else {
      throw WeightSyncError(
        "the manifest of \(subject.name) does not lead to its root \(subject.root)")
    }
    self.leaves = leaves
  }

  /// Takes a chunk.
  /// - Throws: `WeightSyncError` when it cannot belong to this version, or when it completes a leaf that does not verify;
  ///   the leaf's chunks are missing again then.
  public func receive(chunk index: Int, _ bytes: [UInt8]) throws {
    guard states.indices.contains(index) else {
      throw WeightSyncError("\(subject.name) has no chunk \(index)")
    }
    guard !needsManifest else {
      throw WeightSyncError("chunk \(index) of \(subject.name) came before the manifest")
    }
    let start = index * WeightSnapshot.chunkByteCount
    let count = min(WeightSnapshot.chunkByteCount, byteCount - start)
    guard bytes.count == count else {
      throw WeightSyncError("chunk \(index) of \(subject.name) has \(bytes.count) bytes, not \(count)")
    }
    if states[index] == .requested { requestedCount -= 1 }
    if states[index] == .received || states[index] == .verified { return }
    UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[start..<start + count]).copyBytes(from: bytes)
    states[index] = .received
    try verifyLeaf(index / Self.chunksPerLeaf)
  }

  private func verifyLeaf(_ leaf: Int) throws {
    let chunks = leaf * Self.chunksPerLeaf..<min((leaf + 1) * Self.chunksPerLeaf, states.count)
    guard states[chunks].allSatisfy({ $0 == .received }) else { return }
    let start = leaf * VersionHash.leafByteCount
    let end = min(start + VersionHash.leafByteCount, byteCount)
    guard VersionHash.leaf(UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end])) == leaves[leaf] else {
      for chunk in chunks { states[chunk] = .missing }
      cursor = min(cursor, chunks.lowerBound)
      throw WeightSyncError(
        "chunks \(chunks.lowerBound) to \(chunks.upperBound - 1) of \(subject.name) are not what was announced"
      )
    }
    for chunk in chunks { states[chunk] = .verified }
    verifiedCount += chunks.count
  }

  /// Runs of missing chunks to ask for now, so that at most `window` are outstanding; they count as asked for.
  public func requests(window: Int) -> [Range<Int>] {
    guard !needsManifest else { return [] }
    var runs: [Range<Int>] = []
    while cursor < states.count, requestedCount < window {
      if states[cursor] == .missing {
        states[cursor] = .requested
        requestedCount += 1
        if let last = runs.last, last.upperBound == cursor {
          runs[runs.count - 1] = last.lowerBound..<cursor + 1
        } else {
          runs.append(cursor..<cursor + 1)
        }
      }
      cursor += 1
    }
    return runs
  }

  /// What was asked for will not come (a new session, a silence): it is missing again.
  public func forgetRequests() {
    for index in states.indices where states[index] == .requested { states[index] = .missing }
    requestedCount = 0
    cursor = 0
  }

  /// The verified version, which shares the assembler's memory: drop the assembler.
  /// - Throws: `WeightSyncError` when chunks are missing, or it is a delta.
  public func finish() throws -> WeightSnapshot {
    guard case .version(let description) = subject, isComplete else { throw incomplete }
    return WeightSnapshot(verified: description, leaves: leaves, buffer: buffer)
  }

  /// The verified delta.
  /// - Throws: `WeightSyncError` when chunks are missing, it is a version, or it does not begin as a delta does.
  public func finishDelta() throws -> WeightDelta {
    guard case .delta(let description) = subject, isComplete else { throw incomplete }
    return try WeightDelta(received: description, leaves: leaves, bytes: Array(buffer.bytes))
  }

  private var incomplete: WeightSyncError {
    WeightSyncError("\(subject.name) lacks \(states.count - verifiedCount) of \(states.count) chunks")
  }
}
