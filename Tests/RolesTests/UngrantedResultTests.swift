import Coordination
import Foundation
import Testing
import TestSupport
import Thinking
import Transport
import WeightSync
import Wire

@testable import FrontEnd
@testable import Relay

/// Only what was granted counts, and nothing that a message holds ends a thread.
@Suite(.serialized) struct UngrantedResultTests {
  private func lease(_ peer: RawPeer, _ session: UInt64, credits: Int = 4) throws -> Lease? {
    try peer.send(.requestWork(credits: credits), session: session)
    guard case .grant(let leases)? = try peer.receive()?.message else { return nil }
    return leases.first
  }

  private func verdict(
    _ peer: RawPeer, _ session: UInt64, _ result: TrajectoryResult
  ) throws -> ResultAcknowledgement.Verdict? {
    try peer.send(.trajectoryResult(result), session: session)
    guard case .resultAcknowledgement(let word)? = try peer.receive()?.message else { return nil }
    return word.verdict
  }

  /// A worker that never asked for work, and one that answers for another.
  @Test func withoutALeaseNothingIsAccepted() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    try frontEnd.submit(promptGroups(0..<2))
    let (honest, thief) = (try RawPeer(frontEnd.controlEndpoint), try RawPeer(frontEnd.controlEndpoint))
    let (mine, theirs) = (try honest.join("honest"), try thief.join("thief"))
    let held = try #require(try lease(honest, mine))
    for group in 0..<2 {
      for sample in 0..<4 {
        var result = FakeWorker.result(held, sample, snapshot)
        result.groupOrdinal = group
        #expect(try verdict(thief, theirs, result) == .unknown)
      }
    }
    #expect(frontEnd.statistics().leases.accepted == 0 && frontEnd.statistics().counters.ungrantedResults == 8)
    // Nobody lost anything by it.
    #expect(frontEnd.statistics().leasedSamples == 4)
    for sample in held.sampleIndices {
      #expect(try verdict(honest, mine, FakeWorker.result(held, sample, snapshot)) == .accepted)
    }
  }

  /// An expired lease's late result is its worker's; and the lease of a lost session is nobody else's to reclaim.
  @Test func earlierHoldersCountAndLeasesAreNotTakenOver() throws {
    var options = frontEndOptions()
    options.leaseDuration = .milliseconds(100)
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    try frontEnd.submit(promptGroups(0..<1))
    let slow = try RawPeer(frontEnd.controlEndpoint)
    let session = try slow.join("slow")
    let held = try #require(try lease(slow, session))
    #expect(eventually { frontEnd.statistics().leases.expiredLeases == 1 })
    #expect(try eventually { try slow.receive() != nil })
    #expect(try verdict(slow, session, FakeWorker.result(held, 0, snapshot)) == .accepted)

    let thief = try RawPeer(frontEnd.controlEndpoint)
    let theirs = try thief.join("thief")
    try thief.send(.heartbeat(Heartbeat(leaseIDs: [held.id], heldVersion: 0)), session: theirs)
    guard case .cancel([held.id], _, _)? = try thief.receive()?.message else {
      Issue.record("another's lease is its own")
      return
    }
    #expect(try verdict(thief, theirs, FakeWorker.result(held, 1, snapshot)) == .unknown)
    #expect(frontEnd.statistics().leases.accepted == 1)
  }

  /// Who drew a sample is for relays to say.
  @Test func anOriginIsBelievedFromRelaysAlone() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    try frontEnd.submit(promptGroups(0..<1))
    let peer = try RawPeer(frontEnd.controlEndpoint)
    let session = try peer.join("framer")
    let held = try #require(try lease(peer, session))
    var result = FakeWorker.result(held, 0, snapshot)
    result.origin = SampleOrigin(workerName: "honest", fingerprint: "x")
    try peer.send(.trajectoryResult(result), session: session)
    guard case .protocolError(let reason)? = try peer.receive()?.message else {
      Issue.record("no protocol error")
      return
    }
    #expect(reason.contains("origin") && frontEnd.statistics().leases.accepted == 0)
  }

  /// A field of protobuf: a length-delimited one, or bytes that are its value.
  private func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    varint(UInt64(number) << 3 | 2) + varint(UInt64(bytes.count)) + bytes
  }

  private func varint(_ value: UInt64) -> [UInt8] {
    value < 128 ? [UInt8(value)] : [UInt8(value & 127) | 128] + varint(value >> 7)
  }

  /// One character of 4 kB where a word should be: refused, and the thread lives.
  @Test(arguments: [false, true]) func aLongCharacterCostsItsSenderAlone(throughRelay: Bool) throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = throughRelay ? try RunningRelay([frontEnd.controlEndpoint]) : nil
    let endpoint = try relay?.endpoint() ?? frontEnd.controlEndpoint
    let peer = try RawPeer(endpoint)
    let session = try peer.join("accents")
    let word = Array(("e" + String(repeating: "\u{301}", count: 2040)).utf8)
    let body = [9, 1, 0, 0, 0, 0, 0, 0, 0] + field(6, word)
    var envelope: [UInt8] = [8] + varint(UInt64(Envelope.protocolGeneration)) + [17]
    envelope += withUnsafeBytes(of: session.littleEndian) { Array($0) }
    envelope += field(17, body)
    try peer.send([envelope, [], [], [], []])
    guard case .protocolError(let reason)? = try peer.receive()?.message else {
      Issue.record("no protocol error")
      return
    }
    #expect(reason.contains("finish_reason"), "\(reason)")
    let worker = try FakeWorker(workerOptions(endpoint))
    try frontEnd.submit(promptGroups(0..<2))
    #expect(try frontEnd.collect(groupCount: 2, within: .seconds(30)).count == 2)
    #expect(relay?.error == nil)
    _ = worker
  }

  /// A relay without its lower half would hold the learner's work for ever.
  @Test func aRelayWhoseFrontEndEndsEnds() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    _ = try relay.endpoint()
    relay.service.frontEnd?.shared.state.withLock { $0.ending.finish(failure: "broken on purpose") }
    #expect(eventually { relay.error?.contains("broken on purpose") ?? false })
    #expect(eventually { frontEnd.statistics().workers.isEmpty })
  }

  /// With keys, a relay is a key that is marked as one, and a name is its first user's.
  @Test func relaysAndNamesAreOfKeys() throws {
    let folder = KeyDirectory(NSTemporaryDirectory() + "softgrpo-\(UUID().uuidString)")
    _ = try folder.extend(workers: ["one", "two"], relays: [KeyDirectory.Relay(name: "rack", children: ["two"])])
    var options = frontEndOptions()
    options.security = try folder.serverSecurity().security
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    func hello(_ key: SocketSecurity, isRelay: Bool) throws -> Message? {
      let peer = try RawPeer(frontEnd.controlEndpoint, security: key)
      defer { peers.append(peer) }
      var hello = RawPeer.hello("box")
      hello.isRelay = isRelay
      try peer.send(Envelope(.hello(hello)).encoded())
      return try peer.receive()?.message
    }
    var peers: [RawPeer] = []
    let (one, two) = (
      try folder.clientSecurity(name: "one").security, try folder.clientSecurity(name: "two").security
    )
    guard case .refused(let reason)? = try hello(one, isRelay: true) else {
      Issue.record("an unmarked key may be a relay")
      return
    }
    #expect(reason.contains("not marked as a relay's"))
    guard case .welcome? = try hello(folder.relaySecurity(name: "rack").upstream.security, isRelay: true),
      case .welcome? = try hello(one, isRelay: false), case .welcome? = try hello(two, isRelay: false)
    else {
      Issue.record("not welcome")
      return
    }
    #expect(
      Set(frontEnd.statistics().workers.map(\.name)) == ["box", "box (of key one)", "box (of key two)"])
  }
}
