import Logging
import WeightSync
import Wire

/// One worker's pulling of the version that was announced last: at most one at a time, always the newest. Of an adapter
/// version the base comes first, unless it is in hand.
struct WeightPull {
  private var assembler: SnapshotAssembler?
  /// The adapter version whose base is being pulled.
  private var pending: VersionDescription?
  private var byteLimit = 1 << 40
  private var lastProgress: Duration = .zero
  private var failureCount = 0
  private(set) var inHand: WeightSnapshot?
  /// What the adapters in hand are merged into.
  private(set) var base: WeightSnapshot?

  private static let failureLimit = 8

  init() {}

  private var target: VersionDescription? { pending ?? assembler?.description ?? inHand?.description }

  /// A version was announced.
  /// - Parameter isAuthoritative: said within the session and not over PUB, where old messages may come late.
  /// - Returns: what to ask the learner.
  /// - Throws: `WeightSyncError` when the description contradicts itself, is too large, or is not in our chunk size.
  mutating func announced(
    _ announcement: VersionAnnouncement, isAuthoritative: Bool, limit: Int, now: Duration
  ) throws -> [Message] {
    let description = try VersionDescription(
      version: announcement.version, parent: Digest(announcement.parentIdentity), root: Digest(announcement.root),
      byteCount: announcement.byteCount, adapter: announcement.adapter.map { try AdapterDescription($0) },
      claimedIdentity: Digest(announcement.identity))
    guard announcement.chunkByteCount == WeightSnapshot.chunkByteCount else {
      throw WeightSyncError(
        "version \(description.version) is served in chunks of \(announcement.chunkByteCount) bytes")
    }
    if let target {
      if target.identity == description.identity { return [] }
      if !isAuthoritative && description.version <= target.version { return [] }
    }
    if let inHand, inHand.description.identity == description.identity {
      // Back to what we have: the learner resumed from it.
      assembler = nil
      pending = nil
      return []
    }
    byteLimit = limit
    pending = nil
    var first = description
    if let adapter = description.adapter, adapter.base != base?.description {
      pending = description
      first = adapter.base
      // Under way already, for the version before.
      if assembler?.description == first { return [] }
    }
    assembler = try SnapshotAssembler(first, byteCountLimit: limit)
    lastProgress = now
    failureCount = 0
    return [.pullManifest(version: first.version)]
  }

  mutating func receive(_ manifest: WeightManifest, now: Duration, window: Int, logger: Logger) throws -> [Message] {
    guard assembler != nil, assembler!.description.version == manifest.version else { return [] }
    do {
      try assembler!.receive(manifest: manifest.leaves)
    } catch {
      try countFailure(error, logger)
      return [.pullManifest(version: manifest.version)]
    }
    lastProgress = now
    return requests(window: window)
  }

  /// - Returns: what to ask next; `inHand` has changed when the version is complete.
  /// - Throws: `WeightSyncError` after too many chunks that do not verify.
  mutating func receive(_ chunk: WeightsChunk, now: Duration, window: Int, logger: Logger) throws -> [Message] {
    guard assembler != nil, assembler!.description.version == chunk.version else { return [] }
    do {
      try assembler!.receive(chunk: chunk.index, chunk.bytes)
      lastProgress = now
    } catch {
      try countFailure(error, logger)
    }
    if assembler!.isComplete, let finished = assembler {
      assembler = nil
      if let pending {
        base = try finished.finish()
        self.pending = nil
        assembler = try SnapshotAssembler(pending, byteCountLimit: byteLimit)
        return [.pullManifest(version: pending.version)]
      }
      let snapshot = try finished.finish()
      if snapshot.description.adapter == nil { base = nil }
      inHand = snapshot
      return []
    }
    // Ask in batches: a request for each chunk would double the number of messages.
    guard assembler!.outstandingCount <= window * 3 / 4 else { return [] }
    return requests(window: window)
  }

  private mutating func requests(window: Int) -> [Message] {
    let version = assembler!.description.version
    return assembler!.requests(window: window).map {
      .pullWeights(PullWeights(version: version, firstChunk: $0.lowerBound, count: $0.count))
    }
  }

  private mutating func countFailure(_ error: any Error, _ logger: Logger) throws {
    failureCount += 1
    logger.warning("\(error); asking again")
    if failureCount > Self.failureLimit { throw error }
  }

  /// Asks again for what has not come: after a silence, or in a new session.
  mutating func resume(now: Duration, window: Int) -> [Message] {
    guard assembler != nil else { return [] }
    lastProgress = now
    assembler!.forgetRequests()
    if assembler!.needsManifest { return [.pullManifest(version: assembler!.description.version)] }
    return requests(window: window)
  }

  func isStalled(now: Duration, patience: Duration) -> Bool { assembler != nil && now - lastProgress >= patience }

  /// The learner does not serve this version (any longer).
  mutating func unavailable(_ version: Int) {
    guard assembler?.description.version == version else { return }
    assembler = nil
    pending = nil
  }
}

extension AdapterDescription {
  /// - Throws: `WeightSyncError` when a digest is not one.
  init(_ adapter: VersionAnnouncement.Adapter) throws {
    self.init(
      baseRoot: try Digest(adapter.baseRoot), baseByteCount: adapter.baseByteCount, rank: adapter.rank,
      scale: adapter.scale, targets: adapter.targets, mergedRoot: try Digest(adapter.mergedRoot))
  }
}
