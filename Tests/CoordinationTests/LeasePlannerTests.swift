import Testing

@testable import Coordination

@Suite struct LeasePlannerTests {
  private func table(_ groups: Int, samples: Int, dueVersion: Int? = nil) throws -> LeaseTable {
    var table = LeaseTable(staleness: StalenessPolicy(maximum: 1), leaseDuration: .seconds(30))
    table.advance(to: 0)
    for ordinal in 0..<groups {
      try table.enqueue(groupOrdinal: ordinal, sampleCount: samples, dueVersion: dueVersion)
    }
    return table
  }

  private func registry(_ speeds: [Double?], credits: Int = 64) -> WorkerRegistry {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(60))
    for (index, speed) in speeds.enumerated() {
      let id = WorkerID(UInt64(index))
      registry.join(id, name: "", incarnation: UInt64(index), fingerprint: "", now: .zero)
      registry.addCredits(credits, to: id)
      if let speed { registry.report(id, heldVersion: 0, tokensPerSecond: speed, activeSlots: 4) }
    }
    return registry
  }

  private func held(_ table: LeaseTable, _ count: Int) -> [Int] {
    (0..<count).map { table.leasedCount(of: WorkerID(UInt64($0))) }
  }

  @Test func workersOfUnknownSpeedGetTheSame() throws {
    var (table, registry) = (try table(5, samples: 4), registry([nil, nil, nil]))
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(held(table, 3).sorted() == [6, 7, 7] && table.queuedSampleCount == 0)
  }

  @Test func sharesFollowTheSpeeds() throws {
    var (table, registry) = (try table(10, samples: 4), registry([100, 300, nil]))
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    // The third is expected to be as fast as the others' mean, 200.
    #expect(held(table, 3) == [7, 20, 13])
    #expect((0..<3).map { registry[WorkerID(UInt64($0))]!.credits } == [57, 44, 51])
  }

  @Test func creditsBoundAndTheRestWaitsForTheFast() throws {
    var (table, registry) = (try table(10, samples: 4), registry([1000, 10], credits: 8))
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(held(table, 2) == [8, 0] && table.queuedSampleCount == 32)
    // Once the fast one is stuck it counts with what it holds.
    registry.finished(WorkerID(0), after: .seconds(1), now: .zero)
    _ = LeasePlanner.plan(&table, &registry, now: .seconds(2))
    #expect(held(table, 2) == [8, 0])
    _ = LeasePlanner.plan(&table, &registry, now: .seconds(4))
    #expect(held(table, 2) == [8, 8])
  }

  @Test func whoHasNothingToDoInThisStepWorksAhead() throws {
    var (table, registry) = (try table(1, samples: 4, dueVersion: 0), registry([1000, 10], credits: 8))
    try table.enqueue(groupOrdinal: 1, sampleCount: 400, dueVersion: 1)
    let leases = LeasePlanner.plan(&table, &registry, now: .zero)
    // The fast worker alone has the step that is due; of the large one after it both take what they can.
    #expect(leases.filter { $0.groupOrdinal == 0 }.map(\.worker) == [WorkerID(0)])
    #expect(table.leasedCount(of: WorkerID(0), dueVersion: 0) == 4)
    #expect(table.leasedCount(of: WorkerID(0), dueVersion: 1) == 4)
    #expect(table.leasedCount(of: WorkerID(1), dueVersion: 1) == 4)
  }

  @Test func drainingWorkersGetNothing() throws {
    var (table, registry) = (try table(1, samples: 4), registry([100, 100]))
    registry.drain(WorkerID(0))
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(held(table, 2) == [0, 4])
  }

  @Test func idleWorkersDoubleWhatIsOverdue() throws {
    var (table, registry) = (try table(1, samples: 2), registry([100, nil]))
    registry.drain(WorkerID(1))
    let first = LeasePlanner.plan(&table, &registry, now: .zero)
    registry.join(WorkerID(2), name: "", incarnation: 9, fingerprint: "", now: .zero)
    registry.addCredits(4, to: WorkerID(2))
    // Nobody knows yet how long a sample takes.
    var none = LeasePlanner.plan(&table, &registry, now: .seconds(100))
    #expect(none.isEmpty)
    registry.finished(WorkerID(1), after: .seconds(4), now: .zero)
    none = LeasePlanner.plan(&table, &registry, now: .seconds(7))
    #expect(none.isEmpty)
    let second = LeasePlanner.plan(&table, &registry, now: .seconds(8))
    #expect(second.map(\.sampleIndices) == [[0, 1]] && second.allSatisfy { $0.isHedge && $0.worker == WorkerID(2) })
    #expect(registry[WorkerID(2)]?.credits == 2 && first.map(\.worker) == [WorkerID(0)])
    none = LeasePlanner.plan(&table, &registry, now: .seconds(20))
    #expect(none.isEmpty)
  }

  @Test func workersWithWorkOfTheirOwnDoNotDouble() throws {
    var (table, registry) = (try table(1, samples: 2), registry([100, 100], credits: 4))
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(held(table, 2) == [1, 1])
    registry.finished(WorkerID(9), after: .seconds(1), now: .zero)
    let none = LeasePlanner.plan(&table, &registry, now: .milliseconds(2500))
    #expect(none.isEmpty)
  }

  @Test func stuckWorkersSamplesComeBeforeWorkAhead() throws {
    var (table, registry) = (try table(1, samples: 2, dueVersion: 0), registry([100], credits: 2))
    try table.enqueue(groupOrdinal: 1, sampleCount: 100, dueVersion: 1)
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    registry.finished(WorkerID(0), after: .seconds(1), now: .zero)
    registry.join(WorkerID(1), name: "", incarnation: 9, fingerprint: "", now: .zero)
    registry.addCredits(3, to: WorkerID(1))
    let leases = LeasePlanner.plan(&table, &registry, now: .seconds(4))
    #expect(leases.map(\.groupOrdinal) == [0, 1] && leases.map(\.isHedge) == [true, false])
  }

  /// A gradient takes the time of many samples; the worker that computes it is neither stuck nor slow.
  @Test func gradientsAreNotHeldAgainstAWorker() throws {
    var (table, registry) = (try table(1, samples: 3, dueVersion: 0), registry([100], credits: 3))
    try table.enqueue(groupOrdinal: 1, sampleCount: 2, dueVersion: 1)
    let busy = WorkerID(0)
    let first = LeasePlanner.plan(&table, &registry, now: .zero)
    #expect(first.map(\.sampleIndices) == [[0, 1, 2]])
    registry.finished(busy, after: .seconds(1), now: .seconds(1))
    registry.note(computing: [busy], now: .milliseconds(1500))
    registry.join(WorkerID(1), name: "", incarnation: 9, fingerprint: "", now: .zero)
    registry.addCredits(8, to: WorkerID(1))
    // Nearly a minute of gradients later: the other worker has work ahead, and doubles nothing.
    let ahead = LeasePlanner.plan(&table, &registry, now: .seconds(60))
    #expect(ahead.map(\.groupOrdinal) == [1] && ahead.allSatisfy { !$0.isHedge && $0.worker == WorkerID(1) })
    #expect(!registry.isStuck(busy, now: .seconds(60)) && registry[busy]?.isComputing == true)
    registry.finished(WorkerID(1), after: .seconds(1), now: .seconds(61))
    for sample in 0..<2 {
      _ = table.complete(SampleKey(groupOrdinal: 1, sampleIndex: sample), leaseID: ahead[0].id, policyVersion: 0)
    }
    var none = LeasePlanner.plan(&table, &registry, now: .seconds(70))
    #expect(none.isEmpty, "an idle worker, and three samples that are 70 s old: 1.5 s of work")
    none = LeasePlanner.plan(&table, &registry, now: .seconds(79))
    #expect(none.isEmpty)
    // The gradient is done. From here on the time counts.
    registry.note(computing: [], now: .seconds(80))
    #expect(registry.workingTime(of: busy, since: .zero, now: .seconds(81)) == .milliseconds(2500))
    registry.finished(busy, after: registry.workingTime(of: busy, since: .zero, now: .seconds(80)), now: .seconds(80))
    #expect(registry[busy]!.sampleDuration! < .seconds(2) && registry[busy]?.isComputing == false)
    #expect(!registry.isStuck(busy, now: .seconds(82)) && registry.isStuck(busy, now: .seconds(84)))
    let hedges = LeasePlanner.plan(&table, &registry, now: .seconds(84))
    #expect(hedges.map(\.isHedge) == [true] && hedges[0].worker == WorkerID(1))
  }

  /// Who computes a gradient would begin with a hedge too late.
  @Test func hedgesGoToThoseThatDrawSamples() throws {
    var (table, registry) = (try table(1, samples: 2), registry([100], credits: 2))
    _ = LeasePlanner.plan(&table, &registry, now: .zero)
    registry.finished(WorkerID(9), after: .seconds(1), now: .zero)
    registry.join(WorkerID(1), name: "", incarnation: 9, fingerprint: "", now: .zero)
    registry.addCredits(2, to: WorkerID(1))
    registry.note(computing: [WorkerID(1)], now: .zero)
    let none = LeasePlanner.plan(&table, &registry, now: .seconds(9))
    #expect(none.isEmpty)
    registry.note(computing: [], now: .seconds(9))
    let hedges = LeasePlanner.plan(&table, &registry, now: .seconds(10))
    #expect(hedges.map(\.isHedge) == [true])
  }

  @Test func workingTimeLeavesPausesOut() {
    var time = WorkingTime()
    #expect(time.passed(since: .seconds(1), now: .seconds(5)) == .seconds(4))
    time.pause(now: .seconds(2))
    time.pause(now: .seconds(3))
    #expect(time.passed(since: .seconds(1), now: .seconds(5)) == .seconds(1))
    #expect(time.passed(since: .seconds(4), now: .seconds(5)) == .zero)
    time.resume(now: .seconds(6))
    time.resume(now: .seconds(7))
    time.pause(now: .seconds(8))
    #expect(time.passed(since: .zero, now: .seconds(10)) == .seconds(4))
    #expect(time.passed(since: .seconds(5), now: .seconds(10)) == .seconds(2))
    #expect(time.passed(since: .seconds(9), now: .seconds(10)) == .zero)
    for second in 10..<1000 {
      time.resume(now: .seconds(second) + .milliseconds(500))
      time.pause(now: .seconds(second + 1))
    }
    #expect(time.passed(since: .seconds(990), now: .seconds(1000)) == .seconds(5))
  }

  @Test func wholeSharesAddUp() {
    func fleet(_ speeds: [Double], stuck: Set<Int> = []) -> [FleetMember] {
      speeds.enumerated().map {
        FleetMember(id: WorkerID(UInt64($0)), credits: 1, held: 0, speed: $1, isStuck: stuck.contains($0))
      }
    }
    let shares = LeasePlanner.shares(of: 10, fleet: fleet([97, 1, 1, 1]), held: [0, 0, 0, 0])
    #expect(shares.reduce(0, +) == 10 && shares[0] == 10)
    let many = LeasePlanner.shares(
      of: 100, fleet: fleet(Array(repeating: 1, count: 64)), held: Array(repeating: 0, count: 64))
    #expect(many.reduce(0, +) == 100 && many.allSatisfy { (1...2).contains($0) })
    #expect(LeasePlanner.shares(of: 10, fleet: fleet([9, 1, 1], stuck: [0]), held: [4, 0, 0]) == [4, 3, 3])
    #expect(LeasePlanner.shares(of: 10, fleet: fleet([1, 1], stuck: [0, 1]), held: [4, 0]) == [5, 5])
  }
}
