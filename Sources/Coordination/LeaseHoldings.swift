/// What each worker has been lent, in numbers: the sums of its leases, kept as leases come, shrink and go. Pure.
struct LeaseHoldings: Sendable {
  struct Holding: Sendable, Equatable {
    var leases: Set<UInt64> = []
    var samples = 0
    /// Those that were lost with a worker before.
    var suspects = 0
    /// By cohort, without hedges: those count with their first holder.
    var samplesByDue: [Int: Int] = [:]
  }

  private var holdings: [WorkerID: Holding] = [:]

  /// A worker's; nil: it was never lent anything in this session.
  subscript(worker: WorkerID) -> Holding? { holdings[worker] }

  /// A lease begins.
  ///
  /// - Parameter dueVersion: of its group's cohort; nil: the group is not known any longer.
  mutating func add(_ lease: LeaseRecord, dueVersion: Int?) {
    holdings[lease.worker, default: Holding()].leases.insert(lease.id)
    count(lease, lease.sampleIndices.count, dueVersion: dueVersion)
  }

  /// A lease has one sample less.
  mutating func shrink(_ lease: LeaseRecord, dueVersion: Int?) { count(lease, -1, dueVersion: dueVersion) }

  /// A lease without samples is over.
  mutating func end(_ lease: LeaseRecord) { holdings[lease.worker]?.leases.remove(lease.id) }

  mutating func remove(_ worker: WorkerID) { holdings[worker] = nil }

  /// A worker has a new session.
  ///
  /// - Returns: the leases that are the new session's now.
  mutating func move(from old: WorkerID, to new: WorkerID) -> Set<UInt64> {
    guard let moved = holdings.removeValue(forKey: old) else { return [] }
    guard var held = holdings[new] else {
      holdings[new] = moved
      return moved.leases
    }
    held.leases.formUnion(moved.leases)
    held.samples += moved.samples
    held.suspects += moved.suspects
    held.samplesByDue.merge(moved.samplesByDue, uniquingKeysWith: +)
    holdings[new] = held
    return moved.leases
  }

  private mutating func count(_ lease: LeaseRecord, _ change: Int, dueVersion: Int?) {
    holdings[lease.worker]?.samples += change
    if lease.losses > 0 { holdings[lease.worker]?.suspects += change }
    if !lease.isHedge, let dueVersion {
      let before = holdings[lease.worker]?.samplesByDue[dueVersion] ?? 0
      holdings[lease.worker]?.samplesByDue[dueVersion] = before + change == 0 ? nil : before + change
    }
  }
}
