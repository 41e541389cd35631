/// Bytes that are served in chunks: a version, or a delta.
public protocol ChunkedWeights: Sendable {
  /// All leaf hashes in one array.
  var manifest: [UInt8] { get }
  var chunkCount: Int { get }
  /// A copy of one chunk; `nil` when there is no such chunk.
  func chunk(_ index: Int) -> [UInt8]?
}

extension WeightSnapshot: ChunkedWeights {}
extension WeightDelta: ChunkedWeights {}

/// How a peer comes to the current version: the version to start from, and the deltas to apply to it, in order.
public struct WeightPlan: Sendable, Equatable {
  public var target: VersionDescription
  /// To be pulled whole first; nil: what the peer holds.
  public var start: VersionDescription?
  public var deltas: [DeltaDescription]

  public init(target: VersionDescription, start: VersionDescription?, deltas: [DeltaDescription]) {
    self.target = target
    self.start = start
    self.deltas = deltas
  }
}

/// The versions that a peer can serve and the deltas between them: the learner's, or those that a relay received. Pure: whoever
/// calls says what time it is.
///
///     var store = VersionStore()
///     try store.publish(snapshot, delta: delta, now: now)
///     store.plan(holding: identity)                          what does a peer that holds this need?
///     store.served(version: 7, isDelta: true, now: now)      the bytes for it
///
/// The current version and the one before it are served whole. So are older ones for as long as somebody who makes progress
/// pulls them, the oldest first, while together they are no larger than two versions or 256 MiB: a slow link gets to the end of
/// what it began, and later comers are sent there too if the chain leads on from it. Deltas are kept while together they are
/// smaller than the version.
public struct VersionStore: Sendable {
  /// What adapter versions are merged into.
  public private(set) var base: WeightSnapshot?
  /// The frozen model of the KL term, for those that compute gradients; nil: nobody needs it.
  public private(set) var reference: WeightSnapshot?
  /// Weights for gradients alone, while somebody computes with them.
  public private(set) var intermediate: IntermediateVersion?
  /// Ascending; the last is current.
  private var snapshots: [(snapshot: WeightSnapshot, pulled: Duration?)] = []
  /// Each one's parent is the version that the one before leads to; the last leads to the current version.
  public private(set) var deltas: [WeightDelta] = []
  /// Deltas that are here before the version that they lead to.
  private var ahead: (target: VersionDescription, deltas: [WeightDelta])?
  /// Time without a request after which a pull counts as ended.
  private let patience: Duration

  /// What a request says of a peer's pull.
  public enum Progress: Sendable {
    /// It has what it asked for before: the version is kept for it.
    case goesOn
    /// It asks for the same again.
    case standsStill
    /// This is the last it wants. Others that pull the version have their own say.
    case ends
  }

  private static let deltaLimit = 1024
  private static let olderByteLimit = 256 << 20

  public init(patience: Duration = .seconds(30)) { self.patience = patience }

  public var current: WeightSnapshot? { snapshots.last?.snapshot }

  /// What peers are told of: the current version, or the one that the deltas ahead of it lead to.
  public var newest: VersionDescription? { ahead?.target ?? current?.description }

  /// The delta to the newest version from its parent.
  public var newestDelta: WeightDelta? { (ahead?.deltas ?? deltas).last }

  /// Makes a version current.
  ///
  /// - Parameters:
  ///   - base: what the snapshot's adapters are merged into.
  ///   - deltas: lead to the version, the last from its parent: a learner has one, a relay those that it came by. Empty when
  ///     there are none, or they are not worth sending.
  /// - Throws: `WeightSyncError` unless the version is newer than the current one, and base and deltas are its own.
  public mutating func publish(
    _ snapshot: WeightSnapshot, base: WeightSnapshot? = nil, deltas new: [WeightDelta] = [], now: Duration
  ) throws {
    guard snapshot.version >= 0 else { throw WeightSyncError("version \(snapshot.version) is negative") }
    if let current, snapshot.version <= current.version {
      throw WeightSyncError("version \(snapshot.version) does not follow the current version \(current.version)")
    }
    guard snapshot.description.adapter?.base == base?.description else {
      throw WeightSyncError("version \(snapshot.version) was published with another base than it names")
    }
    if let last = new.last?.description {
      guard last.identity == snapshot.description.identity, last.parent == snapshot.description.parent,
        zip(new, new.dropFirst()).allSatisfy({ $0.description.identity == $1.description.parent })
      else { throw WeightSyncError("version \(snapshot.version) was published with another version's delta") }
    }
    ahead = nil
    if deltas.last?.description.identity != new.first?.description.parent { deltas = [] }
    deltas += new
    self.base = base
    intermediate = nil
    snapshots.append((snapshot, nil))
    var byteCount = deltas.reduce(0) { $0 + $1.bytes.count }
    while byteCount >= snapshot.byteCount || deltas.count > Self.deltaLimit {
      byteCount -= deltas.removeFirst().bytes.count
    }
    var room = max(2 * snapshot.byteCount, Self.olderByteLimit)
    let kept = snapshots.dropLast(2).filter { entry in
      guard let pulled = entry.pulled, now - pulled <= patience else { return false }
      room -= entry.snapshot.byteCount
      return room >= 0
    }
    snapshots = kept + snapshots.suffix(2)
  }

  /// Serves deltas that lead on from the current version before the version itself is here: those of a relay, which passes them
  /// on while it applies them.
  ///
  /// - Throws: `WeightSyncError` unless they lead from the current version to `target`.
  public mutating func publish(deltas new: [WeightDelta], to target: VersionDescription) throws {
    guard let current, let first = new.first?.description, let last = new.last?.description,
      first.parent == current.description.identity, target.version > current.version,
      last.identity == target.identity, last.parent == target.parent,
      zip(new, new.dropFirst()).allSatisfy({ $0.description.identity == $1.description.parent })
    else { throw WeightSyncError("the deltas to version \(target.version) do not lead on from the current version") }
    ahead = (target, new)
  }

  /// Serves a frozen model beside the versions: it does not change in a run.
  ///
  /// - Throws: `WeightSyncError` unless it goes by the reference's version number.
  public mutating func publish(reference snapshot: WeightSnapshot) throws {
    guard snapshot.description.isReference else {
      throw WeightSyncError("version \(snapshot.version) was published as the reference model")
    }
    reference = snapshot
  }

  /// Serves weights for gradients alone, in place of those before.
  ///
  /// - Throws: `WeightSyncError` unless they branch off the current version.
  public mutating func publish(_ version: IntermediateVersion) throws {
    let description = version.snapshot.description
    guard description.isIntermediate, description.parent == current?.description.identity,
      description.adapter?.base == base?.description,
      version.delta.map({ $0.description.identity == description.identity }) ?? true
    else { throw WeightSyncError("version \(description.version) does not branch off the current version") }
    intermediate = version
  }

  /// Nobody needs them any longer.
  public mutating func withdrawIntermediate() { intermediate = nil }

  /// Deltas from a version to the newest one; nil when there is no such chain.
  private func chain(from identity: Digest) -> ArraySlice<WeightDelta>? {
    if newest?.identity == identity { return [] }
    let all = deltas + (ahead?.deltas ?? [])
    return all.firstIndex { $0.description.parent == identity }.map { all[$0...] }
  }

  /// What a peer needs to come to the newest version; nil when nothing was published.
  ///
  /// - Parameter identity: what it holds; nil for nothing.
  public func plan(holding identity: Digest?) -> WeightPlan? {
    guard let current, let newest else { return nil }
    if let identity, let chain = chain(from: identity) {
      return WeightPlan(target: newest, start: nil, deltas: chain.map(\.description))
    }
    // A version that others are pulling is kept for them; one that nobody pulls would have to be kept for this peer.
    for entry in snapshots.dropLast() where entry.pulled != nil {
      guard let chain = chain(from: entry.snapshot.description.identity) else { continue }
      if chain.reduce(0, { $0 + $1.bytes.count }) <= current.byteCount / 8 {
        return WeightPlan(target: newest, start: entry.snapshot.description, deltas: chain.map(\.description))
      }
    }
    return WeightPlan(
      target: newest, start: current.description, deltas: (ahead?.deltas ?? []).map(\.description))
  }

  /// What a peer asks for; nil when it is not served (any longer).
  public mutating func served(
    version: Int, isDelta: Bool, progress: Progress = .goesOn, now: Duration
  ) -> (any ChunkedWeights)? {
    if VersionDescription.isIntermediate(version) {
      guard let intermediate, intermediate.snapshot.version == version else { return nil }
      if isDelta { return intermediate.delta }
      return intermediate.snapshot
    }
    if isDelta { return (deltas + (ahead?.deltas ?? [])).last { $0.description.version == version } }
    if base?.version == version { return base }
    if reference?.version == version { return reference }
    guard let index = snapshots.lastIndex(where: { $0.snapshot.version == version }) else { return nil }
    switch progress {
    case .goesOn: snapshots[index].pulled = now
    case .standsStill: break
    case .ends: snapshots[index].pulled = nil
    }
    return snapshots[index].snapshot
  }
}
