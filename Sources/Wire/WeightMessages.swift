/// Names a policy version's bytes and its parent (docs/protocol.md). `WeightSync` computes and verifies the digests.
public struct VersionAnnouncement: Sendable, Equatable {
  public var version: Int
  /// 32 bytes; zeros for the first of a chain.
  public var parentIdentity: [UInt8]
  /// Root of the Merkle tree over the bytes; 32 bytes.
  public var root: [UInt8]
  /// 32 bytes.
  public var identity: [UInt8]
  public var byteCount: Int
  /// Bytes of a chunk, except the last.
  public var chunkByteCount: Int
  /// What the bytes are merged into; nil: they are the whole model.
  public var adapter: Adapter?
  /// The delta from the parent that is served; nil: none.
  public var delta: Delta?
  /// The frozen model of the KL term, served as version -2; nil: none.
  public var reference: Reference?

  /// Names the delta's bytes.
  public struct Delta: Sendable, Equatable {
    /// Root of the Merkle tree over them; 32 bytes.
    public var root: [UInt8]
    public var byteCount: Int

    public init(root: [UInt8], byteCount: Int) {
      self.root = root
      self.byteCount = byteCount
    }
  }

  /// Names the bytes of the frozen model of the KL term.
  public struct Reference: Sendable, Equatable {
    /// Root of the Merkle tree over them; 32 bytes.
    public var root: [UInt8]
    public var byteCount: Int

    public init(root: [UInt8], byteCount: Int) {
      self.root = root
      self.byteCount = byteCount
    }
  }

  /// How low-rank adapters become a model.
  public struct Adapter: Sendable, Equatable {
    /// Root of the Merkle tree over the base's bytes, which are served as version -1; 32 bytes.
    public var baseRoot: [UInt8]
    public var baseByteCount: Int
    public var rank: Int
    /// alpha / rank.
    public var scale: Float
    /// Hugging Face module names.
    public var targets: [String]
    /// Root over the merged model's bytes; 32 bytes.
    public var mergedRoot: [UInt8]

    public init(
      baseRoot: [UInt8], baseByteCount: Int, rank: Int, scale: Float, targets: [String], mergedRoot: [UInt8]
    ) {
      self.baseRoot = baseRoot
      self.baseByteCount = baseByteCount
      self.rank = rank
      self.scale = scale
      self.targets = targets
      self.mergedRoot = mergedRoot
    }
  }

  public init(
    version: Int, parentIdentity: [UInt8], root: [UInt8], identity: [UInt8], byteCount: Int, chunkByteCount: Int,
    adapter: Adapter? = nil, delta: Delta? = nil, reference: Reference? = nil
  ) {
    self.version = version
    self.parentIdentity = parentIdentity
    self.root = root
    self.identity = identity
    self.byteCount = byteCount
    self.chunkByteCount = chunkByteCount
    self.adapter = adapter
    self.delta = delta
    self.reference = reference
  }
}

/// A step of the chain of versions: names the bytes that turn the parent's weights into the version's.
public struct DeltaStep: Sendable, Equatable {
  /// 32 bytes.
  public var parentIdentity: [UInt8]
  public var version: Int
  /// Of the version; 32 bytes.
  public var identity: [UInt8]
  public var bytes: VersionAnnouncement.Delta

  public init(parentIdentity: [UInt8], version: Int, identity: [UInt8], bytes: VersionAnnouncement.Delta) {
    self.parentIdentity = parentIdentity
    self.version = version
    self.identity = identity
    self.bytes = bytes
  }
}

/// The answer to `pullPlan`: how to come to the current version.
public struct WeightPlanDescription: Sendable, Equatable {
  public var target: VersionAnnouncement
  /// To be pulled whole first; nil: the deltas start at what is held.
  public var start: VersionAnnouncement?
  public var deltas: [DeltaStep]

  public init(target: VersionAnnouncement, start: VersionAnnouncement?, deltas: [DeltaStep]) {
    self.target = target
    self.start = start
    self.deltas = deltas
  }
}

/// Asks for chunks `first ..< first + count`; the count is the credit for that many bulk frames.
public struct PullWeights: Sendable, Equatable {
  public var version: Int
  public var firstChunk: Int
  public var count: Int
  /// Of the delta that leads to the version.
  public var isDelta: Bool

  public init(version: Int, firstChunk: Int, count: Int, isDelta: Bool = false) {
    self.version = version
    self.isDelta = isDelta
    self.firstChunk = firstChunk
    self.count = count
  }
}

/// The hashes of all leaves of a version's or a delta's Merkle tree, 32 bytes each.
public struct WeightManifest: Sendable, Equatable {
  public var version: Int
  public var leaves: [UInt8]
  public var isDelta: Bool

  public init(version: Int, leaves: [UInt8], isDelta: Bool = false) {
    self.version = version
    self.isDelta = isDelta
    self.leaves = leaves
  }
}

public struct WeightsChunk: Sendable, Equatable {
  public var version: Int
  public var index: Int
  public var bytes: [UInt8]
  public var isDelta: Bool

  public init(version: Int, index: Int, bytes: [UInt8], isDelta: Bool = false) {
    self.version = version
    self.isDelta = isDelta
    self.index = index
    self.bytes = bytes
  }
}
