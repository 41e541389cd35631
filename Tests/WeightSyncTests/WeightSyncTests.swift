import Kernels
import Testing
import TestSupport

@testable import WeightSync

private func snapshot(_ byteCount: Int, version: Int = 1, parent: Digest = .zero, seed: UInt64 = 1) throws
  -> WeightSnapshot
{
  try WeightSnapshot(version: version, parent: parent, byteCount: byteCount) { bytes in
    var random = SplitMix64(seed: seed)
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
  }
}

private func hexadecimal(_ digest: Digest) -> String {
  digest.bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

@Suite struct VersionHashTests {
  /// Values of Python's hashlib: sha256(b"\0" + b"abc"), and the node over two equal leaves.
  @Test func treeFollowsRFC6962() {
    let leaf = Array("abc".utf8).withUnsafeBytes { VersionHash.leaf($0) }
    #expect(hexadecimal(leaf) == "609f6e36d2405585188d5cfd761f407c7cc46a7d3f314c88270469dde315fcd1")
    #expect(
      hexadecimal(VersionHash.root(ofLeaves: [leaf, leaf]))
        == "2affb1ee66535319d17552a1d471be7c6b88b6e0ec4d2764beb6f515ae31de7c")
    #expect(
      hexadecimal(VersionHash.root(ofLeaves: [leaf, leaf, leaf]))
        == "05a9ec579a80902f05e079836849295762488fbea6e43547eb3a7e4eb77758a8")
    #expect(
      hexadecimal(VersionHash.root(ofLeaves: []))
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(
      hexadecimal(VersionHash.identity(parent: .zero, root: leaf, byteCount: 3, version: 7))
        == "9f4fcf573770e35cb224df434ecebe75c23da781dd9922e7931382c257feedc6")
  }

  @Test func identityDependsOnEverything() throws {
    let base = try snapshot(5000).description.identity
    #expect(try snapshot(5000).description.identity == base)
    #expect(try snapshot(5000, version: 2).description.identity != base)
    #expect(try snapshot(5000, parent: base).description.identity != base)
    #expect(try snapshot(5000, seed: 2).description.identity != base)
    #expect(try snapshot(5001).description.identity != base)
  }

  @Test func claimedIdentityMustFollow() throws {
    let description = try snapshot(10).description
    #expect(throws: WeightSyncError.self) {
      try VersionDescription(
        version: 2, parent: description.parent, root: description.root, byteCount: 10,
        claimedIdentity: description.identity)
    }
    #expect(throws: WeightSyncError.self) { try Digest([1, 2, 3]) }
  }

  @Test func weightsAreTheBytes() throws {
    let snapshot = try WeightSnapshot(version: 0, byteCount: 4) { $0.copyBytes(from: [0x80, 0x3F, 0x00, 0xC0]) }
    #expect(snapshot.withWeights { $0.map { Float($0) } } == [1, -2])
  }
}

@Suite struct SnapshotAssemblerTests {
  static let byteCount = 2 * (1 << 20) + 300_000

  @Test(arguments: [1, 262_144, 262_145, 1 << 20, byteCount])
  func chunksInAnyOrder(byteCount: Int) throws {
    let original = try snapshot(byteCount)
    let assembler = try SnapshotAssembler(original.description)
    // The hash of an only leaf is the root.
    #expect(assembler.needsManifest == (byteCount > 1 << 20))
    if assembler.needsManifest { #expect(assembler.requests(window: 4).isEmpty) }
    try assembler.receive(manifest: original.manifest)
    var random = SplitMix64(seed: 5)
    for index in (0..<original.chunkCount).shuffled(using: &random) {
      #expect(!assembler.isComplete)
      try assembler.receive(chunk: index, original.chunk(index)!)
      try assembler.receive(chunk: index, original.chunk(index)!)
    }
    #expect(assembler.isComplete)
    let copy = try assembler.finish()
    #expect(copy.description == original.description)
    #expect(copy.withBytes { Array($0) } == original.withBytes { Array($0) })
  }

  @Test func windowBoundsWhatIsOutstanding() throws {
    let original = try snapshot(Self.byteCount)
    let assembler = try SnapshotAssembler(original.description)
    try assembler.receive(manifest: original.manifest)
    #expect(assembler.requests(window: 3) == [0..<3])
    #expect(assembler.requests(window: 3).isEmpty)
    try assembler.receive(chunk: 1, original.chunk(1)!)
    #expect(assembler.requests(window: 3) == [3..<4])
    assembler.forgetRequests()
    #expect(assembler.requests(window: 100) == [0..<1, 2..<10])
  }

  @Test func brokenChunksAreAskedForAgain() throws {
    let original = try snapshot(Self.byteCount)
    let assembler = try SnapshotAssembler(original.description)
    try assembler.receive(manifest: original.manifest)
    #expect(assembler.requests(window: 100) == [0..<10])
    var broken = original.chunk(2)!
    broken[17] ^= 1
    for index in 0..<10 {
      let bytes = index == 2 ? broken : original.chunk(index)!
      if index == 3 {
        #expect(throws: WeightSyncError.self) { try assembler.receive(chunk: index, bytes) }
      } else {
        try assembler.receive(chunk: index, bytes)
      }
    }
    #expect(!assembler.isComplete)
    #expect(throws: WeightSyncError.self) { try assembler.finish() }
    #expect(assembler.requests(window: 100) == [0..<4])
    for index in 0..<4 { try assembler.receive(chunk: index, original.chunk(index)!) }
    #expect(try assembler.finish().withBytes { Array($0) } == original.withBytes { Array($0) })
  }

  @Test func whatCannotBelongIsRefused() throws {
    let original = try snapshot(Self.byteCount)
    let assembler = try SnapshotAssembler(original.description)
    #expect(throws: WeightSyncError.self) { try assembler.receive(chunk: 0, original.chunk(0)!) }
    var manifest = original.manifest
    manifest[0] ^= 1
    #expect(throws: WeightSyncError.self) { try assembler.receive(manifest: manifest) }
    #expect(throws: WeightSyncError.self) { try assembler.receive(manifest: manifest + manifest) }
    try assembler.receive(manifest: original.manifest)
    #expect(throws: WeightSyncError.self) { try assembler.receive(chunk: 10, []) }
    #expect(throws: WeightSyncError.self) { try assembler.receive(chunk: 9, original.chunk(0)!) }
    #expect(throws: WeightSyncError.self) {
      try SnapshotAssembler(original.description, byteCountLimit: Self.byteCount - 1)
    }
  }
}
