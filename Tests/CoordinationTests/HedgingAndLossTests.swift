import Testing

@testable import Coordination

private let alice = WorkerID(1)
private let bob = WorkerID(2)
private let carol = WorkerID(3)

private func key(_ group: Int, _ sample: Int) -> SampleKey { SampleKey(groupOrdinal: group, sampleIndex: sample) }

@Suite struct HedgingAndLossTests {
  private func desk(maxStaleness: Int = 0, maximumLosses: Int = .max) -> LeaseDesk {
    var table = LeaseTable(
      staleness: StalenessPolicy(maximum: maxStaleness), leaseDuration: .seconds(10), maximumLosses: maximumLosses)
    table.advance(to: 0)
    return LeaseDesk(table)
  }

  @Test func theFirstOfTwoHoldersWinsAndTheOtherIsTold() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 2)
    let first = try #require(table.grant(to: alice, atMost: 2, now: .zero))
    let second = try #require(table.hedge(first.id, to: bob, atMost: 9, now: .seconds(5)))
    #expect(second.sampleIndices == [0, 1] && second.isHedge && second.worker == bob)
    #expect(table.leasedSampleCount == 2 && table.counters.hedged == 2)
    // No third holder, no second lease for the same worker.
    #expect(table.hedge(first.id, to: carol, atMost: 9, now: .seconds(5)) == nil)
    #expect(table.hedge(second.id, to: alice, atMost: 9, now: .seconds(5)) == nil)

    #expect(table.complete(key(0, 0), leaseID: second.id, policyVersion: 0) == .accepted)
    #expect(
      table.takeSuperseded() == [
        SupersededSample(worker: alice, leaseID: first.id, sampleIndex: 0, endsLease: false)
      ])
    #expect(table.complete(key(0, 1), leaseID: first.id, policyVersion: 0) == .accepted)
    #expect(
      table.takeSuperseded() == [
        SupersededSample(worker: bob, leaseID: second.id, sampleIndex: 1, endsLease: true)
      ])
    #expect(table.complete(key(0, 1), leaseID: second.id, policyVersion: 0) == .duplicate)
    #expect(table.counters.hedgesWon == 1 && table.leasedSampleCount == 0 && table.outstanding.isEmpty)
    #expect(table.leasedCount(of: alice) == 0 && table.leasedCount(of: bob) == 0)
  }

  @Test func aHedgedSampleSurvivesEitherHolder() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 1)
    let first = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    let second = try #require(table.hedge(first.id, to: bob, atMost: 1, now: .zero))
    table.remove(worker: alice)
    #expect(table.queuedSampleCount == 0 && table.leasedSampleCount == 1 && table.counters.requeued == 0)
    // The second holder is gone as well, and only now somebody else may have the sample.
    _ = table.expire(now: second.expires)
    #expect(table.queuedSampleCount == 1 && table.leasedSampleCount == 0)
  }

  @Test func hedgesComeFromTheCohortThatIsDueAndTheOldestLease() throws {
    let table = desk(maxStaleness: 1)
    try table.enqueue(groupOrdinal: 0, sampleCount: 2, dueVersion: 0)
    try table.enqueue(groupOrdinal: 1, sampleCount: 1, dueVersion: 1)
    let late = try #require(table.grant(to: alice, atMost: 1, dueVersion: 1, now: .zero))
    let young = try #require(table.grant(to: alice, atMost: 1, now: .seconds(3)))
    let old = try #require(table.grant(to: bob, atMost: 1, now: .seconds(2)))
    #expect(table.table.hedgeable { _ in true }.map(\.id) == [old.id, young.id, late.id])
    #expect(table.table.hedgeable(dueVersion: 0) { $0.worker == alice }.map(\.id) == [young.id])
  }

  @Test func groupsAheadOfTheirTurnNeedVersionsThatWillBeFreshEnough() throws {
    let table = desk(maxStaleness: 1)
    try table.enqueue(groupOrdinal: 0, sampleCount: 2, dueVersion: 0)
    try table.enqueue(groupOrdinal: 1, sampleCount: 2, dueVersion: 2)
    try table.enqueue(groupOrdinal: 2, sampleCount: 2, dueVersion: 1)
    #expect(table.cohorts.map(\.dueVersion) == [0, 1, 2])
    #expect(table.grant(to: alice, atMost: 9, now: .zero)?.groupOrdinal == 0)
    // Due at 2: version 0 would be too old then, and 1 is not there.
    let ahead = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    #expect(ahead.groupOrdinal == 2 && ahead.policyVersions == 0...Int.max)
    #expect(table.grant(to: alice, atMost: 9, now: .zero)?.groupOrdinal == 2)
    #expect(table.grant(to: alice, atMost: 9, now: .zero) == nil)
    table.advance(to: 1)
    let later = try #require(table.grant(to: alice, atMost: 9, now: .zero))
    #expect(later.groupOrdinal == 1 && later.policyVersions == 1...Int.max)
    #expect(table.complete(key(1, 0), leaseID: later.id, policyVersion: 0) == .stale)
    #expect(table.complete(key(1, 1), leaseID: later.id, policyVersion: 1) == .accepted)
    #expect(table.complete(key(2, 0), leaseID: ahead.id, policyVersion: 0) == .accepted)
  }

  @Test func aReturningWorkerGoesOnWithWhatNobodyFinished() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 3)
    let lease = try #require(table.grant(to: alice, atMost: 3, now: .zero))
    table.remove(worker: alice)
    #expect(table.queuedSampleCount == 3)
    let other = try #require(table.grant(to: bob, atMost: 2, now: .seconds(1)))
    #expect(table.complete(key(0, 0), leaseID: other.id, policyVersion: 0) == .accepted)

    // Its new session is another id. Sample 0 is done, 1 is with bob as well, 2 is still queued.
    let back = WorkerID(7)
    let held = try #require(table.reclaim(lease.id, by: back, now: .seconds(5)))
    #expect(held.kept == [1, 2] && held.dropped == [0])
    #expect(table.queuedSampleCount == 0 && table.leasedSampleCount == 2 && table.leasedCount(of: back) == 2)
    #expect(table.lease(lease.id)?.worker == back && table.counters.reclaimed == 2)
    #expect(table.reclaim(lease.id, by: back, now: .seconds(5)) == nil)
    #expect(table.complete(key(0, 1), leaseID: lease.id, policyVersion: 0) == .accepted)
    #expect(table.takeSuperseded().map(\.worker) == [bob])
    #expect(table.complete(key(0, 2), leaseID: lease.id, policyVersion: 0) == .accepted)
    #expect(table.isComplete(groupOrdinal: 0) && table.outstanding.isEmpty)
  }

  @Test func nothingIsReclaimedAfterANewVersionOrAGoodbye() throws {
    let table = desk()
    try table.enqueue(groupOrdinal: 0, sampleCount: 2)
    let lost = try #require(table.grant(to: alice, atMost: 1, now: .zero))
    let given = try #require(table.grant(to: bob, atMost: 1, now: .zero))
    table.remove(worker: alice)
    table.remove(worker: bob, isLoss: false)
    #expect(table.reclaim(given.id, by: bob, now: .zero) == nil)
    table.advance(to: 1)
    #expect(table.reclaim(lost.id, by: alice, now: .zero) == nil)
    #expect(table.reclaim(99, by: alice, now: .zero) == nil)
  }

  /// One sample kills every worker that touches it. It is set aside after the bound, alone: everything else is finished, and
  /// only few workers are lost.
  @Test(arguments: [0, 17, 63])
  func aKillerIsFoundAndSetAside(killer: Int) throws {
    let table = desk(maximumLosses: 8)
    try table.enqueue(groupOrdinal: 0, sampleCount: 64)
    try table.enqueue(groupOrdinal: 1, sampleCount: 64)
    var lost = 0
    var turns = 0
    var workers = [WorkerID(1), WorkerID(2)]
    while table.queuedSampleCount + table.leasedSampleCount > 0 {
      turns += 1
      try #require(turns < 1000)
      for index in workers.indices {
        while table.grant(to: workers[index], atMost: 64 - table.leasedCount(of: workers[index]), now: .zero) != nil {}
        let held = table.outstanding.filter { $0.worker == workers[index] }
        if held.contains(where: { $0.groupOrdinal == 0 && $0.sampleIndices.contains(killer) }) {
          table.remove(worker: workers[index])
          workers[index] = WorkerID(workers[index].value + 2)
          lost += 1
          continue
        }
        for lease in held {
          for sample in lease.sampleIndices {
            #expect(
              table.complete(key(lease.groupOrdinal, sample), leaseID: lease.id, policyVersion: 0) == .accepted)
          }
        }
      }
    }
    #expect(lost == 8)
    #expect(table.takeSetAside() == [key(0, killer)] && table.counters.setAside == 1)
    #expect(table.counters.accepted == 127 && table.isComplete(groupOrdinal: 0) && table.isComplete(groupOrdinal: 1))
    // Whoever comes with it after all is welcome.
    #expect(table.complete(key(0, killer), leaseID: 1, policyVersion: 0) == .accepted)
  }

  @Test func leavingOnOnesOwnAccountIsHeldAgainstNobody() throws {
    let table = desk(maximumLosses: 2)
    try table.enqueue(groupOrdinal: 0, sampleCount: 1)
    for turn in 0..<5 {
      let worker = WorkerID(UInt64(turn))
      _ = table.grant(to: worker, atMost: 1, now: .zero)
      table.remove(worker: worker, isLoss: false)
    }
    #expect(table.queuedSampleCount == 1 && table.counters.setAside == 0)
  }

  @Test func workThatIsGivenBackIsQueuedAgain() throws {
    let table = desk(maximumLosses: 2)
    try table.enqueue(groupOrdinal: 0, sampleCount: 4)
    let lease = try #require(table.grant(to: WorkerID(1), atMost: 3, now: .zero))
    // Somebody else's, and samples that it does not have, are left alone.
    table.table.giveBack(lease.id, samples: [0], by: WorkerID(2), isLoss: false)
    table.table.giveBack(lease.id, samples: [1, 3], by: WorkerID(1), isLoss: false)
    #expect(table.table.queuedSamples(of: 0) == [1, 3] && table.leasedCount(of: WorkerID(1)) == 2)
    table.table.giveBack(lease.id, samples: [0, 2], by: WorkerID(1), isLoss: true)
    #expect(table.outstanding.isEmpty && table.queuedSampleCount == 4)
    let second = try #require(table.grant(to: WorkerID(1), atMost: 4, now: .zero))
    #expect(second.sampleIndices == [1, 3])
    let suspects = try #require(table.grant(to: WorkerID(1), atMost: 4, now: .zero))
    table.table.giveBack(suspects.id, samples: [2], by: WorkerID(1), isLoss: true)
    #expect(table.takeSetAside() == [key(0, 2)])
  }

  @Test func whatIsWithdrawnIsTakenFromItsHolders() throws {
    let table = desk(maximumLosses: 2)
    try table.enqueue(groupOrdinal: 0, sampleCount: 3)
    let lease = try #require(table.grant(to: WorkerID(1), atMost: 2, now: .zero))
    table.table.withdraw(key(0, 2))
    #expect(table.takeSuperseded().isEmpty && table.queuedSampleCount == 0)
    table.table.withdraw(key(0, 0))
    table.table.withdraw(key(0, 0))
    #expect(
      table.takeSuperseded() == [
        SupersededSample(worker: WorkerID(1), leaseID: lease.id, sampleIndex: 0, endsLease: false)
      ])
    table.table.withdraw(key(0, 1))
    #expect(table.takeSuperseded().map(\.endsLease) == [true] && table.isComplete(groupOrdinal: 0))
  }
}
