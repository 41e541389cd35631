import Coordination
import Testing
import Wire

@testable import Gradients

/// Who may be asked for gradients, and what the rounds come to.
@Suite struct GradientPeersTests {
  private let tests = GradientExchangeTests()

  func relay(_ index: Int) -> Hello {
    var hello = tests.hello(index)
    hello.isRelay = true
    return hello
  }

  @Test func onlyWhoComputesGradientsIsAPeer() {
    var peers = GradientPeers()
    var idle = tests.hello(0)
    idle.computesGradients = false
    peers.join(WorkerID(0), hello: idle, older: nil, party: nil)
    peers.join(WorkerID(1), hello: tests.hello(1, fingerprint: "other"), older: nil, party: nil)
    peers.join(WorkerID(2), hello: tests.hello(2), older: nil, party: nil)
    #expect(peers[WorkerID(0)] == nil)
    #expect(peers.candidates(for: tests.offer(4)).map(\.id) == [WorkerID(2)])
    peers.decline(WorkerID(2))
    #expect(peers.candidates(for: tests.offer(4)).isEmpty)
  }

  /// The party counts, whatever sessions it has.
  @Test func aPartyIsAskedNoMoreAfterThreeUnusableGradients() {
    var peers = GradientPeers()
    let (alice, bob) = (Party.key("alice"), Party.key("bob"))
    for (index, party) in [alice, bob, alice].enumerated() {
      peers.join(WorkerID(UInt64(index)), hello: tests.hello(index), older: nil, party: party)
    }
    for worker: UInt64 in [0, 2] { peers.countUnusable(of: WorkerID(worker)) }
    #expect(peers.candidates(for: tests.offer(4)).count == 3)
    peers.countUnusable(of: WorkerID(0))
    #expect(peers.candidates(for: tests.offer(4)).map(\.id) == [WorkerID(1)])
    peers.join(WorkerID(3), hello: tests.hello(3), older: WorkerID(0), party: alice)
    #expect(peers[WorkerID(0)] == nil && peers.candidates(for: tests.offer(4)).map(\.id) == [WorkerID(1)])
  }

  @Test func aRelayIsAskedAgainWhenOthersAreBelowIt() throws {
    var peers = GradientPeers()
    peers.join(WorkerID(0), hello: relay(0), older: nil, party: nil)
    peers.join(WorkerID(1), hello: tests.hello(1), older: nil, party: nil)
    let class1 = GradientClass(fingerprint: "same", workerCount: 2, threads: 3)
    try peers.report([class1], by: WorkerID(0))
    peers.decline(WorkerID(0))
    try peers.report([class1], by: WorkerID(0))
    #expect(peers.candidates(for: tests.offer(4)).map(\.id) == [WorkerID(1)])
    try peers.report([GradientClass(fingerprint: "same", workerCount: 1, threads: 1)], by: WorkerID(0))
    #expect(peers.candidates(for: tests.offer(4)).count == 2)
    #expect(throws: WireError.self) { try peers.report([class1], by: WorkerID(1)) }
    // Its session's successor keeps what it said.
    peers.join(WorkerID(2), hello: relay(0), older: WorkerID(0), party: nil)
    #expect(
      peers.classes(readyFor: nil) { _ in true } == [GradientClass(fingerprint: "same", workerCount: 2, threads: 2)])
    peers.knownExclusions = ["worker-1"]
    #expect(
      peers.classes(readyFor: nil) { _ in true } == [GradientClass(fingerprint: "same", workerCount: 1, threads: 1)])
  }

  @Test func halfOfThoseThatArePresentMustBeReady() {
    var peers = GradientPeers()
    for index in 0..<3 { peers.join(WorkerID(UInt64(index)), hello: tests.hello(index), older: nil, party: nil) }
    #expect(!peers.isHalfReady(for: 5) { _ in true })
    #expect(peers.note(gradientVersion: 5, of: WorkerID(0)) != nil)
    #expect(peers.note(gradientVersion: 5, of: WorkerID(0)) == nil)
    #expect(!peers.isHalfReady(for: 5) { _ in true })
    #expect(peers.isHalfReady(for: 5) { $0 != WorkerID(2) })
    #expect(!peers.isHalfReady(for: 5) { $0 == WorkerID(2) })
    #expect(peers.classes(readyFor: 5) { _ in true }.map(\.workerCount) == [1])
  }

  @Test func roundsHaveTheirOwnIdsAndCountWhenTheyEnd() throws {
    var rounds = GradientRounds(firstLeaseID: 9)
    rounds.open(tests.offer(4), as: 1, leaseDuration: .seconds(60))
    rounds.open(tests.offer(4), as: 2, leaseDuration: .seconds(60), failure: RoundFailure(reason: "gone"))
    func grant(_ index: Int, _ worker: UInt64) throws -> GradientLeaseRecord {
      let record = rounds[index].leases.grant(
        to: WorkerID(worker), atMost: 1e9, now: .zero, isWorthwhile: { _ in true }, expectedSeconds: { _ in 5 })
      return try #require(record)
    }
    let (first, second) = (try grant(0, 1), try grant(1, 2))
    #expect(rounds.index(of: first.id) == 0 && rounds.index(of: second.id) == 1)
    #expect(rounds.index(of: first.id &- 1) == nil)
    #expect(rounds.lease(first.id)?.record.worker == WorkerID(1) && rounds.lease(first.id + 1) == nil)
    #expect(rounds.occupation(now: .seconds(2))[WorkerID(1)]?.leases == 1)
    #expect(rounds.occupation(now: .seconds(2))[WorkerID(1)]?.seconds == 3)
    #expect(rounds[1].failure?.reason == "gone" && rounds.totals == GradientTotals())
    #expect(rounds.end(1).map(\.id) == [first.id] && rounds.end(1).isEmpty)
    #expect(rounds.count == 1 && rounds.totals.granted == 1 && rounds.totals.revoked == 1)
    #expect(rounds.index(of: second.id) == 0)
  }
}
