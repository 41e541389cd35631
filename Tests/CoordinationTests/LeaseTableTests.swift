import Testing
import TestSupport

@testable import Coordination

private let alice = WorkerID(1)
private let bob = WorkerID(2)

private func key(_ group: Int, _ sample: Int) -> SampleKey { SampleKey(groupOrdinal: group, sampleIndex: sample) }

@Suite struct LeaseTableTests {
  private func desk(maxStaleness: Int = 0) -> LeaseDesk {
    var table = LeaseTable(
      staleness: StalenessPolicy(maximum: maxStaleness), leaseDuration: .seconds(10), maximumLeaseDuration: .seconds(25)
    )
    table.advance(to: 0)
    return LeaseDesk(table)
  }

  @Test func nothingIsGrantedBeforeTheFirstVersion() throws {
    let table = LeaseDesk(LeaseTable(staleness: StalenessPolicy(maximum: 0), leaseDuration: .seconds(1)))
    try table.enqueue(groupOrdinal: 0, sampleCount: 1)
    #expect(table.grant(to: alice, atMost: 1, now: .zero) == nil)
    table.advance(to: 0)
    #expect(table.grant(to: alice, atMost: 1, now: .zero)?.policyVersions == 0...0)
  }

  @Test func oldestGroupFirstAndGroupsAreSplit() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 5, sampleCount: 2)
    try table.enqueue(groupOrdinal: 4, sampleCount: 3)
    let first = table.grant(to: alice, atMost: 2, now: .zero)
    #expect(first?.groupOrdinal == 4 && first?.sampleIndices == [0, 1])
    let second = table.grant(to: alice, atMost: 9, now: .zero)
    #expect(second?.groupOrdinal == 4 && second?.sampleIndices == [2])
    #expect(table.grant(to: bob, atMost: 9, now: .zero)?.groupOrdinal == 5)
    #expect(table.grant(to: bob, atMost: 9, now: .zero) == nil)
    #expect(table.queuedSampleCount == 0 && table.leasedSampleCount == 5)
  }

  @Test func ordinalsAreNeverReused() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 1)
    #expect(throws: CoordinationError.self) { try table.enqueue(groupOrdinal: 0, sampleCount: 1) }
    #expect(table.complete(key(0, 0), leaseID: 0, policyVersion: 0) == .accepted)
    table.retire(groupOrdinal: 0)
    #expect(throws: CoordinationError.self) { try table.enqueue(groupOrdinal: 0, sampleCount: 1) }
    #expect(throws: CoordinationError.self) { try table.enqueue(groupOrdinal: 1, sampleCount: 0) }
    #expect(table.complete(key(0, 0), leaseID: 0, policyVersion: 0) == .duplicate)
  }

  @Test func heartbeatsRenewUpToTheEnd() throws {
    let table = desk()
    var clock = ManualClock()
    try table.enqueue(groupOrdinal: 0, sampleCount: 2)
    let lease = try #require(table.grant(to: alice, atMost: 2, now: clock.now))
    clock.advance(by: .seconds(9))
    table.renew([lease.id], by: alice, now: clock.now)
    clock.advance(by: .seconds(9))
    #expect(table.expire(now: clock.now).isEmpty)
    table.renew([lease.id], by: bob, now: clock.now)
    clock.advance(by: .seconds(1))
    #expect(table.expire(now: clock.now).map(\.id) == [lease.id])

    let again = try #require(table.grant(to: bob, atMost: 2, now: clock.now))
    for _ in 0..<5 {
      clock.advance(by: .seconds(5))
      table.renew([again.id], by: bob, now: clock.now)
    }
    #expect(table.expire(now: clock.now).map(\.id) == [again.id])
    #expect(table.queuedSampleCount == 2 && table.leasedSampleCount == 0)
  }

  @Test func firstResultWinsWhicheverLeaseItCameFrom() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 1)
    let lost = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    table.remove(worker: alice)
    let second = try #require(table.grant(to: bob, atMost: 1, now: .zero))
    #expect(table.complete(key(0, 0), leaseID: lost.id, policyVersion: 0) == .accepted)
    #expect(table.complete(key(0, 0), leaseID: second.id, policyVersion: 0) == .duplicate)
    #expect(table.outstanding.isEmpty && table.isComplete(groupOrdinal: 0))
    #expect(table.complete(key(0, 1), leaseID: lost.id, policyVersion: 0) == .unknown)
    #expect(table.complete(key(7, 0), leaseID: lost.id, policyVersion: 0) == .unknown)
  }

  @Test func staleResultsGoBackToTheQueue() throws {
    let table = desk(maxStaleness: 1)
    try table.enqueue(groupOrdinal: 0, sampleCount: 1)
    let lease = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    #expect(lease.policyVersions == 0...Int.max)
    table.advance(to: 1)
    table.advance(to: 2)
    #expect(table.complete(key(0, 0), leaseID: lease.id, policyVersion: 0) == .stale)
    #expect(table.complete(key(0, 0), leaseID: lease.id, policyVersion: 3) == .stale)
    #expect(table.queuedSampleCount == 1)
    let again = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    #expect(again.policyVersions == 1...Int.max)
    #expect(table.complete(key(0, 0), leaseID: again.id, policyVersion: 1) == .accepted)
  }

  @Test func onPolicyLeasesAreVoidAfterANewVersion() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 2)
    let lease = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    #expect(table.advance(to: 1).map(\.id) == [lease.id])
    #expect(table.queuedSampleCount == 2)
  }

  @Test func transferKeepsLeasesAndReopenQueuesAgain() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 2)
    let lease = try #require(table.grant(to: alice, atMost: 2, now: .zero))
    table.transfer(from: alice, to: bob)
    #expect(table.remove(worker: alice).isEmpty)
    #expect(table.lease(lease.id)?.worker == bob)
    #expect(table.complete(key(0, 1), leaseID: lease.id, policyVersion: 0) == .accepted)
    table.reopen(key(0, 1))
    table.reopen(key(0, 0))
    #expect(table.queuedSampleCount == 1 && table.leasedSampleCount == 1)
  }

  /// Random grants, deaths, expiries, new versions, late and repeated results: each sample is accepted exactly once, all
  /// are, and the counts always agree.
  @Test(arguments: 0..<40)
  func everySampleIsAcceptedExactlyOnce(seed: Int) throws {
    var random = SplitMix64(seed: UInt64(seed))
    var clock = ManualClock()
    let table = desk(maxStaleness: seed % 3)
    var version = 0
    var total = 0
    var accepted: [SampleKey: Int] = [:]
    var inFlight: [(key: SampleKey, lease: UInt64, version: Int)] = []
    var workers = (1...4).map { WorkerID(UInt64($0)) }
    for ordinal in 0..<12 {
      let count = Int.random(in: 1...6, using: &random)
      try table.enqueue(groupOrdinal: ordinal, sampleCount: count)
      total += count
    }
    func deliver(_ result: (key: SampleKey, lease: UInt64, version: Int)) {
      if table.complete(result.key, leaseID: result.lease, policyVersion: result.version) == .accepted {
        accepted[result.key, default: 0] += 1
      }
    }
    var turns = 0
    while accepted.count < total {
      turns += 1
      try #require(turns < 20_000)
      clock.advance(by: .milliseconds(Int.random(in: 0...900, using: &random)))
      switch Int.random(in: 0..<12, using: &random) {
      case 0...3:
        let worker = workers.randomElement(using: &random)!
        if let lease = table.grant(to: worker, atMost: Int.random(in: 1...5, using: &random), now: clock.now) {
          for sample in lease.sampleIndices { inFlight.append((key(lease.groupOrdinal, sample), lease.id, version)) }
        }
      case 4...7:
        guard let index = inFlight.indices.randomElement(using: &random) else { continue }
        deliver(inFlight[index])
        // Half of the results come twice.
        if Bool.random(using: &random) { inFlight.remove(at: index) }
      case 8:
        let index = workers.indices.randomElement(using: &random)!
        table.remove(worker: workers[index])
        workers[index] = WorkerID(workers[index].value + 10)
      case 9: _ = table.expire(now: clock.now)
      case 10: table.renew(table.outstanding.map(\.id), by: workers.randomElement(using: &random)!, now: clock.now)
      default:
        if version < 6 {
          version += 1
          table.advance(to: version)
        }
      }
      #expect(table.queuedSampleCount + table.leasedSampleCount + accepted.count == total)
      #expect(table.outstanding.reduce(0) { $0 + $1.sampleIndices.count } == table.leasedSampleCount)
    }
    #expect(accepted.values.allSatisfy { $0 == 1 })
    #expect((0..<12).allSatisfy { table.isComplete(groupOrdinal: $0) })
    for result in inFlight { deliver(result) }
    #expect(accepted.values.allSatisfy { $0 == 1 })
  }
}
