import Coordination
import Foundation
import Testing
import TestSupport
import Thinking
import Transport
import WeightSync
import Wire

@testable import FrontEnd

/// What follows when a worker is caught.
@Suite(.serialized) struct QuarantineTests {
  private let directory = KeyDirectory(NSTemporaryDirectory() + "softgrpo-\(UUID().uuidString)")

  private func peer(_ name: String, _ frontEnd: LearnerFrontEnd) throws -> RawPeer {
    try RawPeer(frontEnd.controlEndpoint, security: directory.clientSecurity(name: name).security)
  }

  private func options() throws -> LearnerFrontEndOptions {
    var options = frontEndOptions()
    options.security = try directory.serverSecurity().security
    return options
  }

  private func leases(_ peer: RawPeer, _ session: UInt64, credits: Int) throws -> [Lease] {
    try peer.send(.requestWork(credits: credits), session: session)
    guard case .grant(let leases)? = try peer.receive()?.message else { return [] }
    return leases
  }

  /// Its sessions end on every connection, its samples are sampled by others, and it stays out after a restart until it is pardoned.
  @Test func aCaughtKeyIsOutEverywhereAndForGood() throws {
    _ = try directory.extend(workers: ["evil", "good"])
    let frontEnd = try LearnerFrontEnd(options(), logger: quiet)
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    try frontEnd.submit(promptGroups(0..<3, sampleCount: 2))
    let (first, second) = (try peer("evil", frontEnd), try peer("evil", frontEnd))
    let (one, two) = (try first.join("evil"), try second.join("evil"))
    let held = try leases(first, one, credits: 6)
    #expect(held.reduce(0) { $0 + $1.sampleIndices.count } == 6)
    // One group whole, and half of the next.
    for (lease, sample) in [(held[0], 0), (held[0], 1), (held[1], 0)] {
      try first.send(.trajectoryResult(FakeWorker.result(lease, sample, snapshot)), session: one)
      _ = try first.receive()
    }
    let taken = try #require(try frontEnd.nextGroup(within: .seconds(5)))
    let party = Party(described: try #require(taken.samples.first?.party))
    frontEnd.quarantine(party, reason: "on purpose")
    try frontEnd.restore(promptGroups(0..<1, sampleCount: 2)[0], keeping: [])
    for peer in [first, second] {
      guard case .protocolError(let reason)? = try peer.receive()?.message else {
        Issue.record("the session goes on")
        continue
      }
      #expect(reason.contains("on purpose"))
    }
    #expect(frontEnd.statistics().workers.isEmpty && frontEnd.statistics().quarantinedKeys == 1)
    #expect(frontEnd.statistics().queuedSamples == 6)
    // What is still under way from it does not count.
    try second.send(.trajectoryResult(FakeWorker.result(held[1], 1, snapshot)), session: two)
    var workerOptions = workerOptions(frontEnd.controlEndpoint, name: "good")
    workerOptions.security = try directory.clientSecurity(name: "good").security
    let good = try FakeWorker(workerOptions)
    let groups = try frontEnd.collect(groupCount: 3, within: .seconds(30))
    #expect(groups.flatMap(\.samples).count == 6 && groups.flatMap(\.samples).allSatisfy { $0.workerName == "good" })
    good.kill()
    frontEnd.shutdown(reason: "end", within: .seconds(5))

    // Another learner, the same folder.
    guard case .server(_, let list) = try directory.serverSecurity().security,
      case .client(let keys, _) = try directory.clientSecurity(name: "evil").security
    else { return }
    guard case .quarantined(let reason) = list.judge(keys.publicKey) else {
      Issue.record("a restart pardons")
      return
    }
    #expect(reason.contains("on purpose"))
    let quarantine = Quarantine(besideList: try directory.allowListPath)
    #expect(try quarantine.read().map(\.name) == ["evil"])
    #expect(try quarantine.remove([keys.publicKey]).count == 1)
    #expect(!list.refresh(logger: quiet))
    #expect(list.judge(keys.publicKey) == .allowed(name: "evil"))
  }

  /// A worker behind two relays who is caught loses its session there; the relays and who else is behind them go on.
  @Test func aCaughtWorkerBehindRelaysIsOut() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let upper = try RunningRelay([frontEnd.controlEndpoint], name: "upper")
    let lower = try RunningRelay([upper.endpoint()], name: "lower")
    let evil = try FakeWorker(workerOptions(lower.endpoint(), name: "evil"))
    try frontEnd.submit(promptGroups(0..<2, sampleCount: 2))
    let first = try frontEnd.collect(groupCount: 2, within: .seconds(30))
    let good = try FakeWorker(workerOptions(lower.endpoint(), name: "good"))
    let below = try #require(lower.service.frontEnd)
    #expect(eventually { below.statistics().workers.map(\.name).sorted() == ["evil", "good"] })
    frontEnd.quarantine(
      Party(described: try #require(first.first?.samples.first?.party)), reason: "on purpose")
    #expect(eventually { below.statistics().workers.map(\.name) == ["good"] })
    try frontEnd.submit(promptGroups(2..<6, sampleCount: 2))
    let later = try frontEnd.collect(groupCount: 4, within: .seconds(30))
    #expect(later.flatMap(\.samples).allSatisfy { $0.workerName == "good" })
    #expect(frontEnd.statistics().workers.map(\.name) == ["upper"])
    for worker in [evil, good] { worker.kill() }
  }

  /// Without keys it is the process that is out.
  @Test func withoutKeysAProcessIsCaught() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let hello = RawPeer.hello("evil")
    let peer = try RawPeer(frontEnd.controlEndpoint)
    _ = try peer.join(hello)
    frontEnd.quarantine(.process(incarnation: hello.incarnation), reason: "on purpose")
    guard case .protocolError? = try peer.receive()?.message else {
      Issue.record("the session goes on")
      return
    }
    let again = try RawPeer(frontEnd.controlEndpoint)
    try again.send(Envelope(.hello(hello)).encoded())
    guard case .refused(let reason)? = try again.receive()?.message else {
      Issue.record("it is let in again")
      return
    }
    #expect(reason.contains("on purpose"))
  }

  @Test func aRetiredGroupIsTakenBack() throws {
    var table = LeaseTable(staleness: StalenessPolicy(maximum: 0), leaseDuration: .seconds(1))
    table.advance(to: 0)
    try table.enqueue(groupOrdinal: 4, sampleCount: 3, dueVersion: 0)
    #expect(throws: CoordinationError.self) {
      try table.restore(groupOrdinal: 4, sampleCount: 3, accepted: [1], dueVersion: 0)
    }
    table.retire(groupOrdinal: 4)
    try table.restore(groupOrdinal: 4, sampleCount: 3, accepted: [1], dueVersion: 0)
    #expect(table.queuedSamples(of: 4) == [0, 2] && !table.isComplete(groupOrdinal: 4))
    let granted = table.grant(to: WorkerID(1), atMost: 8, now: .zero)
    let lease = try #require(granted)
    #expect(lease.sampleIndices == [0, 2])
    for index in [0, 2] {
      let key = SampleKey(groupOrdinal: 4, sampleIndex: index)
      let verdict = table.complete(key, leaseID: lease.id, policyVersion: 0)
      #expect(verdict == .accepted)
    }
    #expect(table.isComplete(groupOrdinal: 4))
  }
}
