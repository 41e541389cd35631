import Testing

@testable import Coordination

@Suite struct UnfinishedWorkTests {
  @Test func aCohortsSamplesAreCountedUntilTheyAreDone() throws {
    var table = LeaseTable(staleness: StalenessPolicy(maximum: 1), leaseDuration: .seconds(10))
    table.advance(to: 0)
    func unfinished(_ due: Int) -> [Int] {
      let (queued, leased) = table.unfinished(dueVersion: due)
      return [queued, leased]
    }
    try table.enqueue(groupOrdinal: 0, sampleCount: 4, dueVersion: 0)
    try table.enqueue(groupOrdinal: 1, sampleCount: 3, dueVersion: 1)
    #expect(unfinished(0) == [4, 0] && unfinished(1) == [3, 0])
    let lease = table.grant(to: WorkerID(1), atMost: 3, now: .zero)!
    #expect(unfinished(0) == [1, 3])
    _ = table.complete(SampleKey(groupOrdinal: 0, sampleIndex: 0), leaseID: lease.id, policyVersion: 0)
    #expect(unfinished(0) == [1, 2])
    #expect(unfinished(7) == [0, 0])
  }

  /// Speeds that nobody has reported are not known; who drains does not count.
  @Test func speedsAddUp() {
    var registry = WorkerRegistry(heartbeatInterval: .seconds(1), livenessTimeout: .seconds(10))
    for index in 1...3 {
      registry.join(WorkerID(UInt64(index)), name: "", incarnation: UInt64(index), fingerprint: "", now: .zero)
    }
    #expect(registry.totalSpeed == 0)
    for index in 1...2 {
      registry.report(WorkerID(UInt64(index)), heldVersion: 0, tokensPerSecond: Double(index) * 100, activeSlots: 4)
    }
    #expect(registry.totalSpeed == 300)
    registry.drain(WorkerID(2))
    #expect(registry.totalSpeed == 100)
  }
}
