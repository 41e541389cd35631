/// Puts a version together from chunks that come in any order, more than once, or broken. Nothing that does not verify is
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

  public let description: VersionDescription
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
  public init(_ description: VersionDescription, byteCountLimit: Int = 1 << 40) throws {
    guard description.byteCount <= byteCountLimit else {
      throw WeightSyncError(
        "version \(description.version) has \(description.byteCount) bytes, more than the limit of \(byteCountLimit)")
    }
    self.description = description
    buffer = try WeightBuffer(byteCount: description.byteCount)
    states = Array(repeating: .missing, count: WeightSnapshot.chunkCount(byteCount: description.byteCount))
  }

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
    let expected = VersionHash.leafCount(byteCount: description.byteCount)
    guard manifest.count == expected * Digest.byteCount else {
      throw WeightSyncError(
        "the manifest of version \(description.version) has \(manifest.count) bytes, not \(expected * Digest.byteCount)"
      )
    }
    let leaves = stride(from: 0, to: manifest.count, by: Digest.byteCount).map {
      Digest(unchecked: Array(manifest[$0..<$0 + Digest.byteCount]))
    }
    guard VersionHash.root(ofLeaves: leaves) == description.root else {
      throw WeightSyncError(
        "the manifest of version \(description.version) does not lead to its root \(description.root)")
    }
    self.leaves = leaves
  }

  /// Takes a chunk.
  /// - Throws: `WeightSyncError` when it cannot belong to this version, or when it completes a leaf that does not verify;
  ///   the leaf's chunks are missing again then.
  public func receive(chunk index: Int, _ bytes: [UInt8]) throws {
    guard states.indices.contains(index) else {
      throw WeightSyncError("version \(description.version) has no chunk \(index)")
    }
    guard !needsManifest else {
      throw WeightSyncError("chunk \(index) of version \(description.version) came before the manifest")
    }
    let start = index * WeightSnapshot.chunkByteCount
    let count = min(WeightSnapshot.chunkByteCount, description.byteCount - start)
    guard bytes.count == count else {
      throw WeightSyncError("chunk \(index) of version \(description.version) has \(bytes.count) bytes, not \(count)")
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
    let end = min(start + VersionHash.leafByteCount, description.byteCount)
    guard VersionHash.leaf(UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end])) == leaves[leaf] else {
      for chunk in chunks { states[chunk] = .missing }
      cursor = min(cursor, chunks.lowerBound)
      throw WeightSyncError(
        "chunks \(chunks.lowerBound) to \(chunks.upperBound - 1) of version \(description.version) are not what was announced"
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
  /// - Throws: `WeightSyncError` when chunks are missing.
  public func finish() throws -> WeightSnapshot {
    guard isComplete else {
      throw WeightSyncError(
        "version \(description.version) lacks \(states.count - verifiedCount) of \(states.count) chunks")
    }
    return WeightSnapshot(verified: description, leaves: leaves, buffer: buffer)
  }
}
