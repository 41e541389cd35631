import Synchronization
import Testing
import TestSupport
import WeightSync

@testable import FrontEnd

/// The chain of versions over real sockets.
@Suite(.serialized) struct DeltaChainTests {
  private let byteCount = 2_600_000

  private func holds(_ worker: FakeWorker, _ versions: [Int]) -> Bool {
    eventually { worker.log.withLock { $0.versions == versions } }
  }

  @Test func aWorkerFollowsByDeltasAndALaterOneToo() throws {
    let chain = try Chain(versions: 6, byteCount: byteCount)
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    for index in 0..<5 {
      try frontEnd.publish(chain.snapshots[index], delta: chain.deltas[index])
      #expect(holds(worker, Array(0...index)))
    }
    let deltas = chain.deltas[1..<5].reduce(0) { $0 + ($1?.bytes.count ?? 0) }
    #expect(frontEnd.statistics().counters.weightBytesSent == byteCount + deltas && deltas < byteCount / 20)
    let later = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "later"))
    #expect(eventually { later.log.withLock { $0.versions.last == 4 } })
    try frontEnd.publish(chain.snapshots[5], delta: chain.deltas[5])
    #expect(holds(worker, [0, 1, 2, 3, 4, 5]))
    #expect(eventually { later.log.withLock { $0.versions.last == 5 } })
    #expect(frontEnd.statistics().counters.weightBytesSent < 2 * byteCount + 3 * deltas)
    #expect(worker.log.withLock { $0.disconnected } == 0)
  }

  @Test func corruptedDeltasAreRepairedWithoutARestart() throws {
    let chain = try Chain(versions: 3, byteCount: byteCount)
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let relay = try FaultyRelay(frontEnd.controlEndpoint, corruptsDeltas: true)
    defer { relay.stop() }
    let worker = try FakeWorker(workerOptions(relay.endpoint))
    for index in 0..<3 {
      try frontEnd.publish(chain.snapshots[index], delta: chain.deltas[index])
      #expect(holds(worker, Array(0...index)))
    }
    #expect(relay.corruptedCount >= 2 && frontEnd.statistics().counters.weightBytesSent > 3 * byteCount)
    #expect(worker.log.withLock { $0.joined == 1 && $0.disconnected == 0 })
  }

  /// A learner whose delta leads elsewhere, and one that forgets a delta.
  @Test func wrongAndMissingDeltasAreRepairedWithoutARestart() throws {
    let chain = try Chain(versions: 4, byteCount: byteCount)
    let other = try Chain(versions: 2, byteCount: byteCount, salt: 9)
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    try frontEnd.publish(chain.snapshots[0])
    #expect(holds(worker, [0]))
    let (honest, wrong) = (try #require(chain.deltas[1]), try #require(other.deltas[1]))
    try frontEnd.publish(
      chain.snapshots[1],
      delta: WeightDelta(
        received: DeltaDescription(
          parent: honest.description.parent, version: 1, identity: honest.description.identity,
          root: wrong.description.root, byteCount: wrong.bytes.count), leaves: wrong.leaves, bytes: wrong.bytes))
    #expect(holds(worker, [0, 1]))
    try frontEnd.publish(chain.snapshots[2])
    #expect(holds(worker, [0, 1, 2]))
    try frontEnd.publish(chain.snapshots[3], delta: chain.deltas[3])
    #expect(holds(worker, [0, 1, 2, 3]))
    #expect(worker.log.withLock { $0.joined == 1 && $0.disconnected == 0 })
  }

  /// Another learner process, another chain, the same number.
  @Test func aNumberDoesNotNameAVersion() throws {
    let first = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    let worker = try FakeWorker(workerOptions(first.controlEndpoint))
    try first.publish(weights(1))
    #expect(holds(worker, [1]))
    first.abort()
    var options = frontEndOptions()
    options.controlEndpoint = first.controlEndpoint
    let second = try LearnerFrontEnd(options, logger: quiet)
    defer { second.shutdown(reason: "end", within: .seconds(5)) }
    let other = try WeightSnapshot(version: 1, byteCount: 3_000_000) { bytes in
      for index in bytes.indices { bytes[index] = 7 }
    }
    try second.publish(other)
    try second.submit(promptGroups(0..<2))
    let groups = try second.collect(groupCount: 2, within: .seconds(30))
    for sample in groups.flatMap(\.samples) {
      guard case .soft(let soft) = sample.trajectory.segments[0] else { continue }
      #expect(soft.values.elements[1] == 7)
    }
    #expect(worker.log.withLock { $0.weightEvents } == ["version 1", "version 1"])
  }

  /// A learner that resumed serves the same bytes under another parent: they stay.
  @Test func aResumedLearnersVersionIsNotPulledAgain() throws {
    let chain = try Chain(versions: 2, byteCount: byteCount)
    let first = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    let relay = first.controlEndpoint
    let worker = try FakeWorker(workerOptions(relay))
    try first.publish(chain.snapshots[0])
    try first.publish(chain.snapshots[1], delta: chain.deltas[1])
    #expect(eventually { worker.log.withLock { $0.versions.last == 1 } })
    first.abort()
    var options = frontEndOptions()
    options.controlEndpoint = relay
    let second = try LearnerFrontEnd(options, logger: quiet)
    defer { second.shutdown(reason: "end", within: .seconds(5)) }
    let again = try WeightSnapshot(version: 1, byteCount: byteCount) { target in
      chain.snapshots[1].withBytes { target.copyMemory(from: $0) }
    }
    try second.publish(again)
    #expect(eventually { worker.log.withLock { $0.joined == 2 } })
    #expect(eventually { second.statistics().workers.first?.heldVersion == 1 })
    #expect(second.statistics().counters.weightBytesSent == 0)
  }
}
