import Testing

@testable import Coordination

/// The accounts that the lease table keeps: each by itself.
@Suite struct LeaseAccountTests {
  func lease(_ id: UInt64, _ worker: UInt64, samples: Int, losses: Int = 0, isHedge: Bool = false) -> LeaseRecord {
    LeaseRecord(
      id: id, groupOrdinal: 0, sampleIndices: Array(0..<samples), worker: WorkerID(worker), policyVersions: 0...0,
      granted: .zero, expires: .seconds(1), ends: .seconds(1), losses: losses, isHedge: isHedge)
  }

  @Test func aQueueIsAscendingAndHasEachOrdinalOnce() {
    var queue = GroupQueue()
    for ordinal in [5, 1, 9, 5, 3, 1] { queue.insert(ordinal) }
    #expect(queue.ordinals == [1, 3, 5, 9])
    for ordinal in [5, 4, 9, 9, 1] { queue.remove(ordinal) }
    #expect(queue.ordinals == [3])
  }

  @Test func holdingsAreTheSumsOfTheLeases() {
    var holdings = LeaseHoldings()
    let (first, suspect, hedge) = (
      lease(1, 7, samples: 3), lease(2, 7, samples: 2, losses: 1), lease(3, 7, samples: 4, isHedge: true)
    )
    for one in [first, suspect, hedge] { holdings.add(one, dueVersion: 6) }
    #expect(holdings[WorkerID(7)]?.samples == 9 && holdings[WorkerID(7)]?.suspects == 2)
    // Hedges count with their first holder.
    #expect(holdings[WorkerID(7)]?.samplesByDue == [6: 5])
    for _ in 0..<3 { holdings.shrink(first, dueVersion: 6) }
    holdings.end(first)
    #expect(holdings[WorkerID(7)]?.samples == 6 && holdings[WorkerID(7)]?.leases == [2, 3])
    for _ in 0..<2 { holdings.shrink(suspect, dueVersion: 6) }
    #expect(holdings[WorkerID(7)]?.samplesByDue == [:] && holdings[WorkerID(7)]?.suspects == 0)
  }

  @Test func aNewSessionTakesTheHoldingsOver() {
    var holdings = LeaseHoldings()
    holdings.add(lease(1, 1, samples: 3), dueVersion: 0)
    holdings.add(lease(2, 2, samples: 2, losses: 1), dueVersion: 0)
    #expect(holdings.move(from: WorkerID(1), to: WorkerID(2)) == [1])
    #expect(holdings[WorkerID(1)] == nil)
    #expect(
      holdings[WorkerID(2)]
        == LeaseHoldings.Holding(leases: [1, 2], samples: 5, suspects: 2, samplesByDue: [0: 5]))
    #expect(holdings.move(from: WorkerID(2), to: WorkerID(3)) == [1, 2] && holdings[WorkerID(3)]?.samples == 5)
    #expect(holdings.move(from: WorkerID(9), to: WorkerID(3)).isEmpty && holdings[WorkerID(3)]?.samples == 5)
  }

  @Test func cohortsFollowTheStates() {
    var cohorts = LeaseCohorts()
    cohorts.enqueue(4, dueVersion: 2)
    cohorts.enqueue(1, dueVersion: 1)
    cohorts.change(from: .queued, to: .leased([1]), dueVersion: 2)
    cohorts.change(from: .leased([1]), to: .leased([1, 2]), dueVersion: 2)
    #expect(cohorts[2]?.queuedSamples == 3 && cohorts[2]?.leasedSamples == 1)
    #expect(cohorts.queuedSampleCount == 4 && cohorts.leasedSampleCount == 1)
    #expect(cohorts.unfinished.map(\.dueVersion) == [1, 2])
    cohorts.change(from: .queued, to: .accepted, dueVersion: 1)
    #expect(cohorts.unfinished.map(\.dueVersion) == [2])
    for due in [1, 2] { cohorts.forgetIfFinished(dueVersion: due) }
    #expect(cohorts[1] == nil && cohorts[2]?.unfinishedSamples == 4)
    cohorts.change(from: .accepted, to: .queued, dueVersion: 2)
    cohorts.change(from: .leased([1, 2]), to: .setAside, dueVersion: 2)
    #expect(cohorts[2]?.queuedSamples == 4 && cohorts[2]?.leasedSamples == 0)
  }

  @Test func whatASessionDeclinedGoesWithItsWorker() {
    var declined = DeclinedKinds()
    let (old, new) = (WorkerID(1), WorkerID(2))
    declined.add(0, by: old)
    declined.add(3, by: new)
    #expect(declined.contains(0, by: old) && !declined.contains(1, by: old) && !declined.contains(0, by: new))
    declined.move(from: old, to: new)
    #expect(declined[old] == nil && declined[new] == [0, 3])
    declined.remove(new)
    #expect(declined[new] == nil)
  }
}
