import Kernels

/// The bf16 bytes of one policy version, immutable and shared: the learner serves chunks of it, a worker computes with it.
///
/// The bytes are the model's tensors one after the other, row-major, little-endian, in the order of the parameter layout
/// that learner and worker derive from the same model description; of an adapter version, the factors in the order of the
/// adapter layout.
///
///     let snapshot = try WeightSnapshot(version: 1, parent: previous.description.identity, byteCount: count) { bytes in
///       …fill all of bytes…
///     }
///
/// `@unchecked Sendable`: the buffer is written only before the initialisers return, by the assembler or by `fill`.
public final class WeightSnapshot: @unchecked Sendable {
  /// Bytes of a chunk on the wire, except the last: small enough that heartbeats never wait for long.
  public static let chunkByteCount = 256 << 10

  public let description: VersionDescription
  /// Hashes of the Merkle tree's leaves.
  public let leaves: [Digest]
  private let buffer: WeightBuffer

  /// Fills and hashes a new version. Hashing runs at 1-2 GB/s on the calling thread.
  /// - Parameters:
  ///   - parent: identity of the version before; `.zero` for the first.
  ///   - adapter: what the bytes are merged into, when they are adapters.
  ///   - fill: must write every byte.
  /// - Throws: `WeightSyncError` when memory is short; what `fill` throws.
  public init(
    version: Int, parent: Digest = .zero, byteCount: Int, adapter: AdapterDescription? = nil,
    fill: (UnsafeMutableRawBufferPointer) throws -> Void
  ) throws {
    let buffer = try WeightBuffer(byteCount: byteCount)
    try fill(buffer.bytes)
    leaves = VersionHash.leaves(of: UnsafeRawBufferPointer(buffer.bytes))
    description = VersionDescription(
      version: version, parent: parent, root: VersionHash.root(ofLeaves: leaves), byteCount: byteCount,
      adapter: adapter)
    self.buffer = buffer
  }

  /// Hashes a version in memory that is somebody else's, without a copy.
  /// - Parameters:
  ///   - parent: identity of the version before; `.zero` for the first.
  ///   - bytes: at least one; unchanged while `owner` lives, which this object keeps.
  ///   - team: hashes the leaves.
  public init(
    version: Int, parent: Digest = .zero, borrowing bytes: UnsafeRawBufferPointer, from owner: AnyObject,
    team: ThreadTeam
  ) {
    buffer = WeightBuffer(borrowing: bytes, from: owner)
    leaves = VersionHash.leaves(of: bytes, team: team)
    description = VersionDescription(
      version: version, parent: parent, root: VersionHash.root(ofLeaves: leaves), byteCount: bytes.count)
  }

  /// For the assembler, which has verified every leaf.
  init(verified description: VersionDescription, leaves: [Digest], buffer: WeightBuffer) {
    self.description = description
    self.leaves = leaves
    self.buffer = buffer
  }

  /// The same bytes as another version; nil when they are not that version's. A learner that resumed names what it had anew.
  public func renamed(_ description: VersionDescription) -> WeightSnapshot? {
    guard description.root == self.description.root, description.byteCount == byteCount, description.adapter == nil,
      self.description.adapter == nil
    else { return nil }
    return WeightSnapshot(verified: description, leaves: leaves, buffer: buffer)
  }

  public var version: Int { description.version }
  public var byteCount: Int { description.byteCount }
  public var chunkCount: Int { Self.chunkCount(byteCount: byteCount) }

  static func chunkCount(byteCount: Int) -> Int {
    byteCount / chunkByteCount + (byteCount % chunkByteCount == 0 ? 0 : 1)
  }

  /// Lends the bytes; the pointer ends with the call.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try body(UnsafeRawBufferPointer(buffer.bytes))
  }

  /// Lends the weights; an odd last byte is left out.
  public func withWeights<Result>(_ body: (UnsafeBufferPointer<BFloat16>) throws -> Result) rethrows -> Result {
    let weights = buffer.bytes.bindMemory(to: BFloat16.self)
    return try body(UnsafeBufferPointer(start: weights.baseAddress, count: weights.count))
  }

  /// A copy of one chunk; `nil` when there is no such chunk.
  public func chunk(_ index: Int) -> [UInt8]? {
    guard index >= 0, index < chunkCount else { return nil }
    let start = index * Self.chunkByteCount
    return Array(buffer.bytes[start..<min(start + Self.chunkByteCount, byteCount)])
  }

  /// All leaf hashes in one array: the wire's manifest.
  public var manifest: [UInt8] { leaves.flatMap(\.bytes) }
}
