import Synchronization
import Testing
import TestSupport
import Thinking
import Trajectories
import Transport
import WeightSync
import Wire

@testable import FrontEnd

@Suite(.serialized) struct HostilePeerTests {
  @Test func garbageIsCountedAndSurvived() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    var random = SplitMix64(seed: 1)
    for _ in 0..<5 {
      let peer = try RawPeer(frontEnd.controlEndpoint)
      try peer.send([(0..<50).map { _ in UInt8.random(in: 0...255, using: &random) }])
      let answer = try peer.receive()
      guard case .protocolError = answer?.message else {
        Issue.record("expected ProtocolError, got \(String(describing: answer))")
        continue
      }
      // From here on the connection is not read: a proper Hello gets no answer and costs nobody anything.
      try peer.send([[1], [2], [3]])
    }
    #expect(frontEnd.statistics().counters.malformedMessages == 5)
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    try frontEnd.submit(promptGroups(0..<3))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    #expect(frontEnd.statistics().counters.malformedMessages == 5)
    _ = worker
  }

  @Test func breakingTheRulesCostsTheSessionAndItsLeases() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    try frontEnd.submit(promptGroups(0..<1))
    let peer = try RawPeer(frontEnd.controlEndpoint)
    let session = try peer.join("cheat")
    try peer.send(Envelope(session: session, .requestWork(credits: 4)).encoded())
    guard case .grant(let leases)? = try peer.receive()?.message else {
      Issue.record("no grant")
      return
    }
    #expect(leases.map(\.sampleIndices) == [[0, 1, 2, 3]])
    // Well-formed, but with a token that the model does not have.
    var result = FakeWorker.result(leases[0], 0, snapshot)
    result.segments.append(.forced([100]))
    try peer.send(Envelope(session: session, .trajectoryResult(result)).encoded())
    guard case .protocolError(let reason)? = try peer.receive()?.message else {
      Issue.record("no protocol error")
      return
    }
    #expect(reason.contains("vocabulary"))
    let statistics = frontEnd.statistics()
    #expect(statistics.workers.isEmpty && statistics.queuedSamples == 4 && statistics.leases.accepted == 0)
    #expect(statistics.counters.malformedMessages == 1 && statistics.counters.lostSessions == 1)
  }

  @Test func repeatedAndForeignResultsAreAcknowledgedAndNotTrainedTwice() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let snapshot = try weights(0)
    try frontEnd.publish(snapshot)
    try frontEnd.submit(promptGroups(0..<1, sampleCount: 1))
    let peer = try RawPeer(frontEnd.controlEndpoint)
    // Without Hello there is no session.
    try peer.send(Envelope(session: 5, .requestWork(credits: 4)).encoded())
    guard case .refused? = try peer.receive()?.message else {
      Issue.record("not refused")
      return
    }
    let session = try peer.join("twice")
    try peer.send(Envelope(session: session, .requestWork(credits: 4)).encoded())
    guard case .grant(let leases)? = try peer.receive()?.message else {
      Issue.record("no grant")
      return
    }
    let result = FakeWorker.result(leases[0], 0, snapshot)
    var foreign = result
    foreign.groupOrdinal = 99
    var verdicts: [ResultAcknowledgement.Verdict] = []
    for copy in [foreign, result, result] {
      try peer.send(Envelope(session: session, .trajectoryResult(copy)).encoded())
      if case .resultAcknowledgement(let acknowledgement)? = try peer.receive()?.message {
        verdicts.append(acknowledgement.verdict)
      }
    }
    #expect(verdicts == [.unknown, .accepted, .duplicate])
    #expect(try frontEnd.collect(groupCount: 1, within: .seconds(10)).count == 1)
  }

  /// A relay between worker and learner that breaks one chunk.
  @Test func corruptedChunkIsRepaired() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try FaultyRelay(frontEnd.controlEndpoint, corruptsOneChunk: true)
    let worker = try FakeWorker(workerOptions(relay.endpoint))
    try frontEnd.submit(promptGroups(0..<2))
    let groups = try frontEnd.collect(groupCount: 2, within: .seconds(30))
    #expect(groups.count == 2)
    #expect(relay.corruptedCount == 1)
    #expect(worker.log.withLock { $0.versions } == [0])
    // One leaf of four chunks went twice.
    #expect(frontEnd.statistics().counters.weightBytesSent == 3_000_000 + 1 << 20)
    relay.stop()
  }
}
