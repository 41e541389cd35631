import Foundation
import Testing
import TestSupport
import Thinking
import Wire

@testable import FrontEnd

/// Whatever a client sends to a live learner or relay, the others' work goes on. Seeds are fixed; SOFTGRPO_FUZZ_ROUNDS asks for
/// more of them than a test run has time for.
@Suite(.serialized) struct FrontEndFuzzTests {
  private static let rounds = ProcessInfo.processInfo.environment["SOFTGRPO_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 20

  /// Sends what a seed says: messages of every kind, valid and damaged, in and out of sessions, about leases that the peer holds
  /// and others; until it has lost its session or has had its say.
  private func attack(_ endpoint: String, seed: UInt64) throws {
    var messages = RandomMessages(seed: seed)
    func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &messages.random) == 0 }
    let peer = try RawPeer(endpoint)
    var hello = RawPeer.hello("fuzz-\(seed)", incarnation: messages.random.next() | 1)
    hello.computesGradients = messages.bool()
    hello.isRelay = chance(4)
    let session = chance(8) ? 7 : try peer.join(hello)
    try peer.send(.requestWork(credits: 1 + messages.small()), session: session)
    var leases: [Lease] = []
    for _ in 0..<60 {
      while let frames = try peer.socket.receive() {
        if case .grant(let granted)? = (try? Envelope(decoding: frames))?.message { leases += granted }
        if case .protocolError? = (try? Envelope(decoding: frames))?.message { return }
      }
      var message = messages.message(kind: Int.random(in: 0..<RandomMessages.kindCount, using: &messages.random))
      // Half of the time something that gets further than the first check.
      if messages.bool() {
        let lease = leases.randomElement(using: &messages.random)
        let (id, version) = (lease?.id ?? 1, Int.random(in: -1...3, using: &messages.random))
        switch Int.random(in: 0..<9, using: &messages.random) {
        case 0:
          message = .heartbeat(
            Heartbeat(
              leaseIDs: [id, messages.random.next()], tokensPerSecond: 1e308, heldVersion: version,
              gradientLeaseIDs: [id, messages.random.next()]))
        case 1, 2:
          var result = messages.result()
          (result.leaseID, result.groupOrdinal) = (id, lease?.groupOrdinal ?? 0)
          result.sampleIndex = lease?.sampleIndices.randomElement(using: &messages.random) ?? messages.small()
          if result.versionSpans.isEmpty { result.policyVersion = version }
          message = .trajectoryResult(result)
        case 3:
          message = .pullWeights(
            PullWeights(version: max(0, version), firstChunk: messages.small(), count: 1 + messages.small()))
        case 4: message = .pullManifest(version: max(0, version), isDelta: messages.bool())
        case 5:
          message = .returnWork(
            ReturnedWork(leaseID: id, sampleIndices: [messages.small(), 8 + messages.small()], isLoss: messages.bool()))
        case 6: message = .requestWork(credits: 65_536)
        case 7: message = .gradientReady(messages.gradientReady())
        default: message = .pullPlan(heldIdentity: messages.bytes(32))
        }
      }
      var frames = try Envelope(session: chance(10) ? messages.random.next() : session, message).encoded()
      if chance(6) {
        let frame = frames.indices.randomElement(using: &messages.random)!
        if let position = frames[frame].indices.randomElement(using: &messages.random) {
          if messages.bool() {
            frames[frame][position] ^= 1 << UInt8.random(in: 0..<8, using: &messages.random)
          } else {
            frames[frame].removeSubrange(position...)
          }
        }
      }
      if chance(40) {
        frames = (0..<Int.random(in: 1...5, using: &messages.random)).map { _ in messages.bytes(messages.small() * 40) }
      }
      try peer.send(frames)
    }
    if messages.bool() { try peer.send(.goodbye(reason: "enough"), session: session) }
  }

  @Test func othersGoOn() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(maxStaleness: 1), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    var snapshot = try weights(0, byteCount: 300_000)
    try frontEnd.publish(snapshot)
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoints = [frontEnd.controlEndpoint, try relay.endpoint()]
    let workers = try endpoints.enumerated().map { try FakeWorker(workerOptions($1, name: "honest-\($0)")) }
    for round in 0..<Self.rounds {
      // Small ones at the most: what is sampled is of no interest.
      try frontEnd.submit(promptGroups(round * 4..<round * 4 + 4, sampleCount: 2))
      for (index, endpoint) in endpoints.enumerated() { try attack(endpoint, seed: UInt64(2 * round + index)) }
      let groups = try frontEnd.collect(groupCount: 4, within: .seconds(60))
      #expect(groups.map(\.ordinal) == Array(round * 4..<round * 4 + 4))
      snapshot = try weights(snapshot.version + 1, after: snapshot, byteCount: 300_000)
      try frontEnd.publish(snapshot)
    }
    #expect(relay.error == nil && relay.service.frontEnd != nil)
    #expect(workers.allSatisfy { $0.log.withLock { $0.disconnected } == 0 })
  }
}
