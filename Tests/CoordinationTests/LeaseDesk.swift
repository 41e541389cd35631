@testable import Coordination

/// A table behind a reference, because expectations cannot call mutating methods.
final class LeaseDesk {
  var table: LeaseTable

  init(_ table: LeaseTable) { self.table = table }

  func grant(to worker: WorkerID, atMost limit: Int, dueVersion: Int? = nil, now: Duration) -> LeaseRecord? {
    table.grant(to: worker, atMost: limit, dueVersion: dueVersion, now: now)
  }
  func complete(_ key: SampleKey, leaseID: UInt64, policyVersion: Int) -> ResultVerdict {
    table.complete(key, leaseID: leaseID, policyVersion: policyVersion)
  }
  func enqueue(groupOrdinal: Int, sampleCount: Int, dueVersion: Int? = nil) throws {
    try table.enqueue(groupOrdinal: groupOrdinal, sampleCount: sampleCount, dueVersion: dueVersion)
  }
  func expire(now: Duration) -> [LeaseRecord] { table.expire(now: now) }
  func renew(_ ids: [UInt64], by worker: WorkerID, now: Duration) { table.renew(ids, by: worker, now: now) }
  @discardableResult func remove(worker: WorkerID, isLoss: Bool = true) -> [LeaseRecord] {
    table.remove(worker: worker, isLoss: isLoss)
  }
  @discardableResult func advance(to version: Int) -> [LeaseRecord] { table.advance(to: version) }
  func transfer(from old: WorkerID, to new: WorkerID) { table.transfer(from: old, to: new) }
  func reopen(_ key: SampleKey) { table.reopen(key) }
  func retire(groupOrdinal: Int) { table.retire(groupOrdinal: groupOrdinal) }
  func lease(_ id: UInt64) -> LeaseRecord? { table.lease(id) }
  func isComplete(groupOrdinal: Int) -> Bool { table.isComplete(groupOrdinal: groupOrdinal) }
  func hedge(_ id: UInt64, to worker: WorkerID, atMost limit: Int, now: Duration) -> LeaseRecord? {
    table.hedge(id, to: worker, atMost: limit, now: now)
  }
  func reclaim(_ id: UInt64, by worker: WorkerID, now: Duration) -> (kept: [Int], dropped: [Int])? {
    table.reclaim(id, by: worker, now: now)
  }
  func takeSuperseded() -> [SupersededSample] { table.takeSuperseded() }
  func takeSetAside() -> [SampleKey] { table.takeSetAside() }
  func leasedCount(of worker: WorkerID) -> Int { table.leasedCount(of: worker) }
  var counters: LeaseTable.Counters { table.counters }
  var cohorts: [LeaseCohort] { table.cohorts }
  var outstanding: [LeaseRecord] { table.outstanding }
  var queuedSampleCount: Int { table.queuedSampleCount }
  var leasedSampleCount: Int { table.leasedSampleCount }
}
