import Kernels
import Testing
import TestSupport
import WeightSync
import Wire

@testable import Gradients
@testable import WeightExchange
@testable import WorkerLink

private let team = ThreadTeam(threadCount: 1)

/// Weights between two optimiser steps, as a worker pulls them.
@Suite struct IntermediatePullTests {
  private let chain: Chain
  /// Branches off version 0.
  private let branches: [IntermediateVersion]

  init() throws {
    chain = try Chain(versions: 3)
    let parent = chain.snapshots[0]
    var random = SeededRandom(9)
    branches = try (1...2).map { step in
      let snapshot = try WeightSnapshot(
        version: VersionDescription.intermediateVersion(afterOptimizerStep: step),
        parent: parent.description.identity, byteCount: parent.byteCount
      ) { target in
        parent.withBytes { target.copyMemory(from: $0) }
        for _ in 0..<500 * step { target[Int(random.next() % UInt64(target.count))] ^= 1 }
      }
      let delta = WeightDelta.encode(
        from: parent, to: snapshot, limit: WeightDelta.byteLimit(for: snapshot), team: team)?.delta
      return IntermediateVersion(snapshot, delta: delta)
    }
  }

  /// A pull that holds version 0.
  private func holding(takesReference: Bool = false) throws -> (WeightPull, MessageLearner) {
    var (pull, learner) = (WeightPull(takesReference: takesReference), MessageLearner())
    try learner.publish(chain, 0)
    try exchange(&pull, &learner, announce(&pull, learner))
    learner.sent = []
    return (pull, learner)
  }

  private func tell(
    _ pull: inout WeightPull, _ branch: IntermediateVersion, withDelta: Bool = true
  ) throws -> [Message] {
    try pull.follow(
      branch.snapshot.description.announcement(delta: withDelta ? branch.delta?.description : nil), now: .zero)
  }

  @Test func eachIsOneDeltaFromThePolicyVersion() throws {
    var (pull, learner) = try holding()
    for branch in branches {
      try learner.store.publish(branch)
      try exchange(&pull, &learner, tell(&pull, branch))
      #expect(pull.intermediate?.snapshot.leaves == branch.snapshot.leaves)
      // What is sampled with stays.
      #expect(pull.usable?.leaves == chain.snapshots[0].leaves && pull.deltasInHand.isEmpty)
      #expect(try tell(&pull, branch).isEmpty, "it is here")
    }
    #expect(learner.sent == ["chunk*", "chunk*"])
    // The next version follows the one before, and what branched off that is gone.
    learner.sent = []
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(learner.sent == ["chunk*"] && pull.usable?.leaves == chain.snapshots[1].leaves)
    #expect(pull.intermediate == nil && learner.store.intermediate == nil)
    #expect(try tell(&pull, branches[1]).isEmpty, "it branches off another version")
  }

  /// A worker that has missed the first, or is still at it, needs the second alone.
  @Test func aNewerOneReplacesWhatWasBegun() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(branches[0])
    let begun = try tell(&pull, branches[0])
    #expect(begun.count == 1)
    try learner.store.publish(branches[1])
    let requests = try tell(&pull, branches[1])
    try exchange(&pull, &learner, begun + requests)
    #expect(pull.intermediate?.snapshot.leaves == branches[1].snapshot.leaves)
  }

  @Test func withoutADeltaItComesWhole() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(IntermediateVersion(branches[0].snapshot, delta: nil))
    try exchange(&pull, &learner, tell(&pull, branches[0], withDelta: false))
    #expect(pull.intermediate?.snapshot.leaves == branches[0].snapshot.leaves && pull.inHand?.version == 0)
    #expect(learner.sent.count { $0 == "chunk" } == 10)
  }

  /// What does not verify is never handed on, nor is it tried again; versions go on as deltas.
  @Test(arguments: [true, false])
  func aDamagedOneIsGivenUp(_ isDelta: Bool) throws {
    var (pull, learner) = try holding()
    let branch = IntermediateVersion(branches[0].snapshot, delta: isDelta ? branches[0].delta : nil)
    try learner.store.publish(branch)
    learner.fault = { message in
      guard case .weightsChunk(var chunk) = message, chunk.version < 0 else { return message }
      chunk.bytes[70] ^= 4
      return .weightsChunk(chunk)
    }
    try exchange(&pull, &learner, tell(&pull, branch, withDelta: isDelta))
    #expect(pull.intermediate == nil && pull.intermediateGoal == nil && pull.usable?.version == 0)
    #expect(learner.sent.count == (isDelta ? WeightPull.failureLimit + 1 : learner.sent.count))
    learner.sent = []
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner))
    #expect(learner.sent == ["chunk*"] && pull.usable?.leaves == chain.snapshots[1].leaves)
  }

  /// A delta that verifies but leads elsewhere.
  @Test func aPoisonedDeltaIsGivenUp() throws {
    var (pull, learner) = try holding()
    let description = branches[1].snapshot.description
    let other = try #require(branches[0].delta)
    let poison = try WeightDelta(
      received: DeltaDescription(
        parent: description.parent, version: description.version, identity: description.identity,
        root: other.description.root, byteCount: other.description.byteCount), leaves: other.leaves, bytes: other.bytes)
    let branch = IntermediateVersion(branches[1].snapshot, delta: poison)
    try learner.store.publish(branch)
    try exchange(&pull, &learner, tell(&pull, branch))
    #expect(pull.intermediate == nil && pull.usable?.version == 0 && learner.sent == ["chunk*"])
  }

  @Test func whatWasWithdrawnIsForgotten() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(branches[0])
    let requests = try tell(&pull, branches[0])
    learner.store.withdrawIntermediate()
    try exchange(&pull, &learner, requests)
    #expect(learner.sent == ["unavailable*"] && pull.intermediate == nil && pull.intermediateGoal == nil)
  }

  /// A version goes before, and what was begun is of no use then.
  @Test func makesWayForAVersion() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(branches[0])
    let requests = try tell(&pull, branches[0])
    try learner.publish(chain, 1)
    try exchange(&pull, &learner, announce(&pull, learner) + requests)
    #expect(pull.usable?.leaves == chain.snapshots[1].leaves && pull.intermediate == nil)
  }

  /// Under a KL term nothing can be computed without the reference, so that comes first.
  @Test func comesBehindTheReference() throws {
    var (pull, learner) = try holding(takesReference: true)
    let reference = try WeightSnapshot(
      version: VersionDescription.referenceVersion, byteCount: chain.snapshots[2].byteCount
    ) { target in chain.snapshots[2].withBytes { target.copyMemory(from: $0) } }
    try learner.store.publish(reference: reference)
    let requests = try announce(&pull, learner)
    try learner.store.publish(branches[0])
    #expect(try tell(&pull, branches[0]).isEmpty)
    try exchange(&pull, &learner, requests)
    #expect(
      pull.reference?.leaves == reference.leaves && pull.intermediate?.snapshot.leaves == branches[0].snapshot.leaves)
    #expect(learner.sent.last == "chunk*")
  }

  /// Another learner's may bear the same number.
  @Test func anotherLearnersIsDropped() throws {
    var (pull, learner) = try holding()
    try learner.store.publish(branches[0])
    try exchange(&pull, &learner, tell(&pull, branches[0]))
    pull.learnerChanged(current: learner.store.announcement)
    #expect(pull.intermediate == nil && pull.usable?.version == 0)
  }

  @Test func theStoreServesWhatBranchesOffItsVersion() throws {
    var store = VersionStore()
    #expect(throws: WeightSyncError.self) { try store.publish(branches[0]) }
    try store.publish(chain.snapshots[0], now: .zero)
    #expect(throws: WeightSyncError.self) {
      try store.publish(IntermediateVersion(chain.snapshots[0], delta: nil))
    }
    #expect(throws: WeightSyncError.self) {
      try store.publish(IntermediateVersion(branches[0].snapshot, delta: branches[1].delta))
    }
    try store.publish(branches[0])
    #expect(store.served(version: -3, isDelta: true, now: .zero)?.chunkCount == 1)
    #expect(store.served(version: -3, isDelta: false, now: .zero)?.chunkCount == 10)
    #expect(store.served(version: -4, isDelta: true, now: .zero) == nil)
    // It is no part of the chain.
    #expect(store.current?.version == 0 && store.deltas.isEmpty)
    #expect(store.plan(holding: branches[0].snapshot.description.identity)?.start?.version == 0)
    try store.publish(chain.snapshots[1], now: .zero)
    #expect(store.served(version: -3, isDelta: true, now: .zero) == nil)
    #expect(throws: WeightSyncError.self) { try store.publish(branches[0]) }
  }
}
