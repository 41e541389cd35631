import Kernels
import Testing
import TestSupport

@testable import WeightSync

/// A learner's versions with the deltas between them.
private func chain(_ count: Int, weights: Int = 60_000) throws -> [(snapshot: WeightSnapshot, delta: WeightDelta?)] {
  var random = SeededRandom(2)
  var values = (0..<weights).map { _ in random.normal() * 0.1 }
  var result: [(snapshot: WeightSnapshot, delta: WeightDelta?)] = []
  for number in 0..<count {
    let next = try version(number, stepped(&values, rate: 1e-5, &random), after: result.last?.snapshot)
    let delta = result.last.flatMap {
      WeightDelta.encode(from: $0.snapshot, to: next, limit: 1 << 30, team: team)?.delta
    }
    result.append((next, delta))
  }
  return result
}

@Suite struct VersionStoreTests {
  @Test func saysWhatAPeerNeeds() throws {
    let versions = try chain(4)
    var store = VersionStore()
    #expect(store.plan(holding: nil) == nil && store.current == nil)
    for (snapshot, delta) in versions { try store.publish(snapshot, deltas: delta.map { [$0] } ?? [], now: .zero) }
    let target = versions[3].snapshot.description
    for held in 0..<4 {
      let plan = try #require(store.plan(holding: versions[held].snapshot.description.identity))
      #expect(plan.target == target && plan.start == nil)
      #expect(plan.deltas == versions[(held + 1)...].map { $0.delta!.description })
      let applied =
        held == 3
        ? versions[3].snapshot
        : try versions[held].snapshot.applying(
          plan.deltas.map { step in store.deltas.first { $0.description == step }! }, to: plan.target, team: team)
      #expect(applied.leaves == versions[3].snapshot.leaves)
    }
    for stranger in [nil, Digest.zero, versions[3].snapshot.description.root] {
      #expect(store.plan(holding: stranger) == WeightPlan(target: target, start: target, deltas: []))
    }
  }

  @Test func servesTheCurrentVersionTheOneBeforeAndDeltas() throws {
    let versions = try chain(4)
    var store = VersionStore()
    for (snapshot, delta) in versions { try store.publish(snapshot, deltas: delta.map { [$0] } ?? [], now: .zero) }
    #expect(store.served(version: 3, isDelta: false, now: .zero)?.manifest == versions[3].snapshot.manifest)
    #expect(store.served(version: 2, isDelta: false, now: .zero)?.chunk(0) == versions[2].snapshot.chunk(0))
    #expect(store.served(version: 1, isDelta: false, now: .zero) == nil)
    for version in 1...3 {
      guard let served = store.served(version: version, isDelta: true, now: .zero) else {
        Issue.record("the delta to version \(version) is not served")
        continue
      }
      let assembler = try SnapshotAssembler(.delta(versions[version].delta!.description))
      for index in 0..<served.chunkCount { try assembler.receive(chunk: index, #require(served.chunk(index))) }
      #expect(try assembler.finishDelta().bytes == versions[version].delta!.bytes)
    }
    #expect(store.served(version: 0, isDelta: true, now: .zero) == nil)
    #expect(store.served(version: 4, isDelta: true, now: .zero) == nil)
  }

  /// What a slow link pulls stays until it has ended, and later comers are sent there.
  @Test func keepsAnOlderVersionWhileItIsPulled() throws {
    let versions = try chain(8)
    var store = VersionStore(patience: .seconds(10))
    try store.publish(versions[0].snapshot, now: .zero)
    _ = store.served(version: 0, isDelta: false, now: .seconds(1))
    for number in 1..<5 {
      try store.publish(versions[number].snapshot, deltas: [versions[number].delta!], now: .seconds(number))
      _ = store.served(version: 0, isDelta: false, now: .seconds(number))
    }
    let plan = try #require(store.plan(holding: nil))
    #expect(plan.start == versions[0].snapshot.description && plan.deltas.count == 4)
    #expect(store.served(version: 1, isDelta: false, now: .seconds(5)) == nil)
    try store.publish(versions[5].snapshot, deltas: [versions[5].delta!], now: .seconds(40))
    #expect(store.served(version: 0, isDelta: false, now: .seconds(40)) == nil)
    #expect(store.plan(holding: nil)?.start == versions[5].snapshot.description)
    // Without a chain that leads on it is finished, and nobody else is sent there.
    _ = store.served(version: 5, isDelta: false, now: .seconds(40))
    try store.publish(versions[6].snapshot, now: .seconds(41))
    try store.publish(versions[7].snapshot, deltas: [versions[7].delta!], now: .seconds(42))
    #expect(store.served(version: 5, isDelta: false, now: .seconds(42)) != nil)
    #expect(store.plan(holding: nil)?.start?.version == 7)
    #expect(store.plan(holding: versions[5].snapshot.description.identity)?.start?.version == 7)
    #expect(store.plan(holding: versions[6].snapshot.description.identity)?.deltas.count == 1)
  }

  /// Who asks for the same again and again, or for the last of it, keeps nothing alive.
  @Test func aPullThatStandsStillOrEndsKeepsNothing() throws {
    let versions = try chain(8)
    for (progress, isKept) in [(VersionStore.Progress.goesOn, true), (.standsStill, false), (.ends, false)] {
      var store = VersionStore(patience: .seconds(10))
      try store.publish(versions[0].snapshot, now: .zero)
      _ = store.served(version: 0, isDelta: false, now: .zero)
      for number in 1..<8 {
        try store.publish(versions[number].snapshot, now: .seconds(4 * number))
        _ = store.served(version: 0, isDelta: false, progress: progress, now: .seconds(4 * number))
      }
      #expect((store.served(version: 0, isDelta: false, now: .seconds(28)) != nil) == isKept)
    }
  }

  /// Two versions' worth at most, of those pulled the oldest.
  @Test func olderVersionsTakeBoundedMemory() throws {
    let byteCount = 129 << 20
    var store = VersionStore()
    var parent = Digest.zero
    for number in 0..<5 {
      // Hashing so much takes long, and nobody looks at these bytes.
      let snapshot = try WeightSnapshot(
        verified: VersionDescription(version: number, parent: parent, root: .zero, byteCount: byteCount), leaves: [],
        buffer: WeightBuffer(byteCount: byteCount))
      try store.publish(snapshot, now: .zero)
      parent = snapshot.description.identity
      _ = store.served(version: number, isDelta: false, now: .zero)
    }
    #expect(
      (0..<5).map { store.served(version: $0, isDelta: false, now: .zero) != nil } == [true, true, false, true, true])
  }

  /// A relay's: announced and served while the version itself is being made.
  @Test func servesDeltasAheadOfTheirVersion() throws {
    let versions = try chain(6)
    var store = VersionStore()
    for number in 0..<3 {
      try store.publish(versions[number].snapshot, deltas: versions[number].delta.map { [$0] } ?? [], now: .zero)
    }
    let new = [versions[3].delta!, versions[4].delta!]
    let (current, target) = (versions[2].snapshot.description, versions[4].snapshot.description)
    try store.publish(deltas: new, to: target)
    #expect(store.current?.description == current && store.newest == target)
    #expect(store.newestDelta?.description == new[1].description)
    #expect(store.plan(holding: nil) == WeightPlan(target: target, start: current, deltas: new.map(\.description)))
    #expect(store.plan(holding: current.identity)?.deltas == new.map(\.description))
    #expect(store.plan(holding: versions[0].snapshot.description.identity)?.deltas.map(\.version) == [1, 2, 3, 4])
    #expect(store.plan(holding: target.identity) == WeightPlan(target: target, start: nil, deltas: []))
    #expect(store.served(version: 4, isDelta: true, now: .zero)?.manifest == new[1].manifest)
    #expect(store.served(version: 4, isDelta: false, now: .zero) == nil)
    // The version itself, and the chain goes on.
    try store.publish(versions[4].snapshot, deltas: new, now: .zero)
    #expect(store.current?.version == 4 && store.newest == target)
    #expect(store.plan(holding: versions[0].snapshot.description.identity)?.deltas.map(\.version) == [1, 2, 3, 4])
    // It came whole after all: nothing leads to it.
    try store.publish(deltas: [versions[5].delta!], to: versions[5].snapshot.description)
    try store.publish(versions[5].snapshot, now: .zero)
    #expect(store.plan(holding: target.identity)?.start == versions[5].snapshot.description)
    for wrong in [[versions[4].delta!], [versions[3].delta!, versions[5].delta!], []] {
      var fresh = VersionStore()
      try fresh.publish(versions[2].snapshot, now: .zero)
      let result = Result { try fresh.publish(deltas: wrong, to: target) }
      #expect(throws: WeightSyncError.self) { try result.get() }
    }
  }

  /// A relay that missed versions serves on what it came by.
  @Test func takesSeveralDeltasAtOnce() throws {
    let versions = try chain(6)
    var store = VersionStore()
    try store.publish(versions[0].snapshot, now: .zero)
    try store.publish(versions[3].snapshot, deltas: versions[1...3].map { $0.delta! }, now: .zero)
    #expect(store.plan(holding: versions[1].snapshot.description.identity)?.deltas.map(\.version) == [2, 3])
    let gap = Result {
      try store.publish(versions[5].snapshot, deltas: [versions[2].delta!, versions[5].delta!], now: .zero)
    }
    #expect(throws: WeightSyncError.self) { try gap.get() }
    try store.publish(versions[5].snapshot, deltas: [versions[5].delta!], now: .zero)
    #expect(store.plan(holding: versions[3].snapshot.description.identity)?.start?.version == 5)
    #expect(store.plan(holding: versions[4].snapshot.description.identity)?.deltas.map(\.version) == [5])
  }

  @Test func deltasTogetherAreSmallerThanTheVersion() throws {
    let versions = try chain(400, weights: 2000)
    var store = VersionStore()
    for (snapshot, delta) in versions { try store.publish(snapshot, deltas: delta.map { [$0] } ?? [], now: .zero) }
    let byteCount = store.deltas.reduce(0) { $0 + $1.bytes.count }
    #expect(byteCount < 4000 && byteCount + 400 > 4000 - 400)
    #expect(store.deltas.last?.description.version == 399)
  }

  @Test func onlyMovesForwardWithItsOwnDelta() throws {
    let versions = try chain(3)
    var store = VersionStore()
    try store.publish(versions[1].snapshot, now: .zero)
    for wrong in [versions[0].snapshot, versions[1].snapshot] {
      let result = Result { try store.publish(wrong, now: .zero) }
      #expect(throws: WeightSyncError.self) { try result.get() }
    }
    let result = Result { try store.publish(versions[2].snapshot, deltas: [versions[1].delta!], now: .zero) }
    #expect(throws: WeightSyncError.self) { try result.get() }
    #expect(store.current?.version == 1)
  }
}
