import Coordination
import Wire

/// A worker's account of its work: leases waiting for weights, leases with the engine, results not acknowledged, samples to be
/// given back, and the credits that the learner has. Pure.
struct HeldWork: Sendable {
  struct ResultKey: Hashable, Sendable {
    var leaseID: UInt64
    var sampleIndex: Int
  }

  private struct Held {
    var lease: Lease
    var remaining: Set<Int>
    var isDelivered = false
  }

  private var held: [UInt64: Held] = [:]
  /// Order of arrival, for delivery.
  private var waiting: [UInt64] = []
  private(set) var unacknowledged: [ResultKey: TrajectoryResult] = [:]
  /// Credits with the learner and samples held: what may come without being asked for again.
  private var promised = 0
  /// Given back, and not yet said.
  private var returned: [ReturnedWork] = []

  /// Samples that are not finished: what counts against the capacity.
  var sampleCount: Int { held.values.reduce(0) { $0 + $1.remaining.count } }

  /// Leases that are not finished, ascending.
  var leaseIDs: [UInt64] { held.keys.sorted() }

  /// - Returns: false for a lease that is held already.
  mutating func add(_ lease: Lease) -> Bool {
    guard held[lease.id] == nil else { return false }
    held[lease.id] = Held(lease: lease, remaining: Set(lease.sampleIndices))
    waiting.append(lease.id)
    return true
  }

  /// Leases that `version` may sample and the engine does not have yet.
  mutating func deliverable(with version: Int) -> [Lease] {
    var leases: [Lease] = []
    waiting.removeAll { id in
      guard let lease = held[id]?.lease, lease.policyVersions.contains(version) else { return false }
      held[id]!.isDelivered = true
      leases.append(lease)
      return true
    }
    return leases
  }

  /// A finished sample.
  /// - Returns: false when the lease is not held any longer: the result is not wanted.
  mutating func finish(_ result: TrajectoryResult) -> Bool {
    guard held[result.leaseID]?.remaining.remove(result.sampleIndex) != nil else { return false }
    if held[result.leaseID]!.remaining.isEmpty { held[result.leaseID] = nil }
    unacknowledged[ResultKey(leaseID: result.leaseID, sampleIndex: result.sampleIndex)] = result
    promised -= 1
    return true
  }

  /// - Returns: the result, when it was waiting for this.
  mutating func acknowledge(leaseID: UInt64, sampleIndex: Int) -> TrajectoryResult? {
    unacknowledged.removeValue(forKey: ResultKey(leaseID: leaseID, sampleIndex: sampleIndex))
  }

  /// - Returns: those of `ids` that the engine has, and the number of samples set free.
  mutating func cancel(_ ids: [UInt64]) -> (delivered: [UInt64], sampleCount: Int) {
    var delivered: [UInt64] = []
    var sampleCount = 0
    for id in ids {
      guard let lease = held.removeValue(forKey: id) else { continue }
      sampleCount += lease.remaining.count
      if lease.isDelivered { delivered.append(id) } else { waiting.removeAll { $0 == id } }
    }
    promised -= sampleCount
    return (delivered, sampleCount)
  }

  /// - Returns: those of the samples that are not finished, and whether the engine has the lease.
  mutating func cancel(_ id: UInt64, samples: [Int]) -> (unfinished: [Int], isDelivered: Bool) {
    guard let lease = held[id] else { return ([], false) }
    let unfinished = samples.filter { lease.remaining.contains($0) }
    held[id]!.remaining.subtract(unfinished)
    held[id]!.lease.sampleIndices.removeAll { unfinished.contains($0) }
    if held[id]!.remaining.isEmpty {
      held[id] = nil
      waiting.removeAll { $0 == id }
    }
    promised -= unfinished.count
    return (unfinished, lease.isDelivered)
  }

  /// Samples that are not going to be finished here; those that are not held any longer are left out.
  mutating func giveBack(_ work: ReturnedWork) {
    let (unfinished, _) = cancel(work.leaseID, samples: work.sampleIndices)
    guard !unfinished.isEmpty else { return }
    returned.append(
      ReturnedWork(leaseID: work.leaseID, sampleIndices: unfinished, isLoss: work.isLoss, reason: work.reason))
  }

  /// What the engine does not have goes back.
  mutating func giveBackWaiting() {
    for id in waiting {
      guard let lease = held[id] else { continue }
      returned.append(ReturnedWork(leaseID: id, sampleIndices: lease.remaining.sorted()))
    }
    dropWaiting()
  }

  /// What the learner is to be told of.
  mutating func takeReturned() -> [ReturnedWork] {
    defer { returned = [] }
    return returned
  }

  /// Credits to be asked for, so that `capacity` samples are held.
  mutating func takeCredits(capacity: Int) -> Int {
    let credits = max(0, min(capacity - promised, WorkerRegistry.maximumCredits))
    promised += credits
    return credits
  }

  /// A new session has no credits.
  mutating func rejoined() { promised = sampleCount }

  /// Everything undelivered goes back: the worker takes nothing new.
  mutating func dropWaiting() {
    for id in waiting { promised -= held.removeValue(forKey: id)?.remaining.count ?? 0 }
    waiting = []
  }

  mutating func removeAll() { self = HeldWork() }
}
