import Kernels

/// The hash chain of policy versions (docs/protocol.md).
///
/// Bytes are cut into leaves of 1 MiB. leaf = SHA-256(0x00, bytes); node = SHA-256(0x01, left, right); a node without a
/// partner rises as it is (RFC 6962, section 2.1); the root of no bytes is SHA-256 of nothing.
/// identity = SHA-256("softgrpo version 1\n", parent identity, root, byte count, version), integers as 8 little-endian bytes;
/// of an adapter version SHA-256("softgrpo adapter version 1\n", the same, base identity, rank, bits of the scale, number of
/// targets, each target's length and bytes, merged root).
public enum VersionHash {
  public static let leafByteCount = 1 << 20

  public static func leafCount(byteCount: Int) -> Int {
    byteCount / leafByteCount + (byteCount % leafByteCount == 0 ? 0 : 1)
  }

  /// The hash of one leaf: at most 1 MiB.
  public static func leaf(_ bytes: UnsafeRawBufferPointer) -> Digest {
    let hash = SHA256()
    hash.update([0])
    hash.update(bytes)
    return hash.finalize()
  }

  /// The hashes of all leaves, in order.
  public static func leaves(of bytes: UnsafeRawBufferPointer) -> [Digest] {
    stride(from: 0, to: bytes.count, by: leafByteCount).map { start in
      leaf(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + leafByteCount, bytes.count)]))
    }
  }

  /// The hashes of all leaves, in order, a leaf a thread.
  public static func leaves(of bytes: UnsafeRawBufferPointer, team: ThreadTeam) -> [Digest] {
    var leaves = [Digest](repeating: .zero, count: leafCount(byteCount: bytes.count))
    leaves.withUnsafeMutableBufferPointer { leaves in
      nonisolated(unsafe) let (leaves, bytes) = (leaves, bytes)
      team.run(leaves.count) { index, _ in
        let start = index * leafByteCount
        leaves[index] = leaf(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + leafByteCount, bytes.count)]))
      }
    }
    return leaves
  }

  public static func root(ofLeaves leaves: [Digest]) -> Digest {
    guard !leaves.isEmpty else { return SHA256().finalize() }
    var level = leaves
    while level.count > 1 {
      level = stride(from: 0, to: level.count, by: 2).map { index in
        guard index + 1 < level.count else { return level[index] }
        let hash = SHA256()
        hash.update([1])
        hash.update(level[index].bytes)
        hash.update(level[index + 1].bytes)
        return hash.finalize()
      }
    }
    return level[0]
  }

  public static func identity(
    parent: Digest, root: Digest, byteCount: Int, version: Int, adapter: AdapterDescription? = nil
  ) -> Digest {
    let hash = SHA256()
    hash.update(Array((adapter == nil ? "softgrpo version 1\n" : "softgrpo adapter version 1\n").utf8))
    hash.update(parent.bytes)
    hash.update(root.bytes)
    hash.update(littleEndian: UInt64(byteCount))
    hash.update(littleEndian: UInt64(bitPattern: Int64(version)))
    if let adapter {
      hash.update(adapter.base.identity.bytes)
      hash.update(littleEndian: UInt64(adapter.rank))
      hash.update(littleEndian: UInt64(adapter.scale.bitPattern))
      hash.update(littleEndian: UInt64(adapter.targets.count))
      for target in adapter.targets {
        hash.update(littleEndian: UInt64(target.utf8.count))
        hash.update(Array(target.utf8))
      }
      hash.update(adapter.mergedRoot.bytes)
    }
    return hash.finalize()
  }
}

/// What names a version's bytes. A description whose identity follows from its other fields is the only kind there is.
public struct VersionDescription: Sendable, Equatable {
  public let version: Int
  public let parent: Digest
  public let root: Digest
  public let byteCount: Int
  /// What the bytes are merged into; nil: they are the whole model.
  public let adapter: AdapterDescription?
  public let identity: Digest

  public init(
    version: Int, parent: Digest, root: Digest, byteCount: Int, adapter: AdapterDescription? = nil
  ) {
    self.version = version
    self.parent = parent
    self.root = root
    self.byteCount = byteCount
    self.adapter = adapter
    identity = VersionHash.identity(
      parent: parent, root: root, byteCount: byteCount, version: version, adapter: adapter)
  }

  /// - Throws: `WeightSyncError` when the claimed identity does not follow from the rest.
  public init(
    version: Int, parent: Digest, root: Digest, byteCount: Int, adapter: AdapterDescription? = nil,
    claimedIdentity: Digest
  ) throws {
    self.init(version: version, parent: parent, root: root, byteCount: byteCount, adapter: adapter)
    guard identity == claimedIdentity else {
      throw WeightSyncError(
        "version \(version) claims the identity \(claimedIdentity), but its description has \(identity)")
    }
  }
}
