import Kernels
import Testing
import TestSupport

@testable import WeightSync

/// Deltas that are not what an encoder writes: an error, and the parent as it was.
@Suite struct HostileDeltaTests {
  let parent: WeightSnapshot
  let target: WeightSnapshot
  let delta: WeightDelta

  init() throws {
    var random = SeededRandom(11)
    var values = (0..<40_000).map { _ in random.normal() * 0.1 }
    parent = try version(1, values.map { BFloat16($0).bitPattern })
    target = try version(2, stepped(&values, rate: 1e-4, &random), after: parent)
    delta = try #require(WeightDelta.encode(from: parent, to: target, limit: 1 << 30, team: team)?.delta)
  }

  /// The delta with other bytes, as somebody would send it who computes its hashes anew.
  private func altered(_ bytes: [UInt8]) throws -> WeightDelta {
    try WeightDelta(received: delta.description, leaves: delta.leaves, bytes: bytes)
  }

  private func isRefused(_ bytes: [UInt8]) -> Bool {
    do {
      let snapshot = try parent.applying([altered(bytes)], to: target.description, team: team)
      return snapshot.leaves == target.leaves
    } catch { return error is WeightSyncError }
  }

  @Test func everyCutIsRefused() {
    for count in 0..<delta.bytes.count where count < 200 || count % 61 == 0 {
      #expect(throws: WeightSyncError.self) {
        try parent.applying([altered(Array(delta.bytes.prefix(count)))], to: target.description, team: team)
      }
    }
    #expect(throws: WeightSyncError.self) {
      try parent.applying([altered(delta.bytes + [0])], to: target.description, team: team)
    }
  }

  /// Whatever bit is flipped: the delta is refused, or (a bit that decides nothing) leads to the verified version.
  @Test func everyFlippedBitIsRefused() {
    let before = parent.withBytes { Array($0) }
    for index in delta.bytes.indices where index < 300 || index % 7 == 0 {
      for bit in [0, 3, 7] {
        var bytes = delta.bytes
        bytes[index] ^= 1 << UInt8(bit)
        #expect(isRefused(bytes))
      }
    }
    #expect(parent.withBytes { Array($0) } == before)
  }

  @Test func randomPayloadsAreRefused() {
    var random = SplitMix64(seed: 5)
    for _ in 0..<300 {
      var bytes = Array(delta.bytes.prefix(48))
      let payload = (0..<Int(random.next() % 200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      bytes.replaceSubrange(44..<48, with: withUnsafeBytes(of: UInt32(payload.count).littleEndian) { Array($0) })
      if payload.count > 2 { bytes += [20, 20, 3, 0, 0, 0, 0] }
      #expect(isRefused(bytes + payload))
    }
  }

  /// Sizes that are checked before anything is allocated for them.
  @Test func impossibleSizesAreRefused() {
    func with(_ value: UInt64, at offset: Int, bytes count: Int) -> [UInt8] {
      var bytes = delta.bytes
      withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset..<offset + count, with: $0.prefix(count)) }
      return bytes
    }
    for value: UInt64 in [0, 39_999, 40_001, 1 << 47, UInt64.max] { #expect(isRefused(with(value, at: 16, bytes: 8))) }
    for value: UInt64 in [0, 1, 40_001, UInt64.max] { #expect(isRefused(with(value, at: 24, bytes: 8))) }
    for value: UInt64 in [0, 1, 1 << 19 - 1, 1 << 31] { #expect(isRefused(with(value, at: 32, bytes: 4))) }
    for value: UInt64 in [0, 2, 1 << 31] { #expect(isRefused(with(value, at: 36, bytes: 4))) }
    for value: UInt64 in [0, 1 << 31] { #expect(isRefused(with(value, at: 40, bytes: 4))) }
    for value: UInt64 in [0, 1 << 31] { #expect(isRefused(with(value, at: 44, bytes: 4))) }
  }

  /// A small frame that says it holds gigabytes, or holds more than it says.
  @Test func bombsAreRefused() throws {
    let zstandard = Zstandard()
    let frame = try #require(zstandard.compress([UInt8](repeating: 0, count: 1 << 24)))
    #expect(frame.count < 5000)
    for claimed in [1 << 24, 1000, 1 << 34] {
      var payload: [UInt8] = [130, 1, 0, 0, 0, 0, 0]
      payload.append(variable: claimed)
      payload.append(variable: frame.count)
      payload += frame
      var bytes = Array(delta.bytes.prefix(44))
      bytes.append(littleEndian: UInt32(payload.count))
      #expect(isRefused(bytes + payload))
    }
    #expect(throws: WeightSyncError.self) {
      try frame.withUnsafeBytes { try zstandard.decompress($0, byteCount: 1 << 23) }
    }
    #expect(throws: WeightSyncError.self) {
      try (frame + [0]).withUnsafeBytes { try zstandard.decompress($0, byteCount: 1 << 24) }
    }
    #expect(throws: WeightSyncError.self) {
      try (frame + frame).withUnsafeBytes { try zstandard.decompress($0, byteCount: 1 << 24) }
    }
  }

  /// Valid in itself, but not the step that it claims to be.
  @Test func anotherVersionsDeltaIsRefused() throws {
    let other = try version(2, modelLike(40_000, seed: 77), after: parent)
    let wrong = try #require(WeightDelta.encode(from: parent, to: other, limit: 1 << 30, team: team)?.delta)
    #expect(throws: WeightSyncError.self) { try parent.applying([wrong], to: target.description, team: team) }
    let disguised = try WeightDelta(received: delta.description, leaves: wrong.leaves, bytes: wrong.bytes)
    #expect(throws: WeightSyncError.self) { try parent.applying([disguised], to: target.description, team: team) }
    #expect(throws: WeightSyncError.self) { try target.applying([delta], to: target.description, team: team) }
    #expect(throws: WeightSyncError.self) { try parent.applying([delta, delta], to: target.description, team: team) }
    #expect(throws: WeightSyncError.self) { try parent.applying([], to: target.description, team: team) }
    let short = try version(1, modelLike(39_999, seed: 1))
    #expect(throws: WeightSyncError.self) { try short.applying([delta], to: target.description, team: team) }
  }
}
