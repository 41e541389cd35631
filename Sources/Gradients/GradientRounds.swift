import Coordination
import Wire

/// The rounds that are open, and what those before them came to. A learner has one at most. Pure.
struct GradientRounds: Sendable, RandomAccessCollection, MutableCollection {
  /// Ids of leases that a round has to itself.
  static let idsOfARound: UInt64 = 1 << 24

  private var rounds: [GradientRound] = []
  private var nextLeaseID: UInt64
  private(set) var totals = GradientTotals()

  init(firstLeaseID: UInt64) { nextLeaseID = Swift.max(1, firstLeaseID) }

  var startIndex: Int { 0 }
  var endIndex: Int { rounds.count }
  subscript(index: Int) -> GradientRound {
    get { rounds[index] }
    _modify { yield &rounds[index] }
  }

  /// The round that a lease belongs to.
  func index(of leaseID: UInt64) -> Int? {
    rounds.firstIndex { leaseID &- $0.firstLeaseID < Self.idsOfARound }
  }

  /// A lease that is out, with its round.
  func lease(_ id: UInt64) -> (index: Int, record: GradientLeaseRecord)? {
    guard let index = index(of: id), let record = rounds[index].leases.lease(id) else { return nil }
    return (index, record)
  }

  /// Leases that are out.
  var outstanding: [GradientLeaseRecord] { rounds.flatMap(\.leases.outstanding) }

  /// What each worker is busy with: leases that are not computed, and seconds until the last of them should be.
  func occupation(now: Duration) -> [WorkerID: (leases: Int, seconds: Double)] {
    var busy: [WorkerID: (leases: Int, seconds: Double)] = [:]
    for lease in outstanding where !lease.isComputed {
      let entry = busy[lease.worker] ?? (0, 0)
      busy[lease.worker] = (entry.leases + 1, Swift.max(entry.seconds, (lease.expected - now).inSeconds))
    }
    return busy
  }

  /// - Parameters:
  ///   - id: names the round, for a relay that has several.
  ///   - failure: why it cannot be computed from the beginning.
  mutating func open(_ offer: GradientOffer, as id: UInt64, leaseDuration: Duration, failure: RoundFailure? = nil) {
    if nextLeaseID > .max - Self.idsOfARound { nextLeaseID = 1 }
    rounds.append(
      GradientRound(
        id: id, firstLeaseID: nextLeaseID, offer: offer,
        leases: GradientLeases(
          leafRows: offer.leafCosts, options: .init(leaseDuration: leaseDuration), firstLeaseID: nextLeaseID),
        failure: failure))
    nextLeaseID += Self.idsOfARound
  }

  /// Ends a round; whatever is still out is void.
  ///
  /// - Returns: the leases that were out.
  mutating func end(_ id: UInt64) -> [GradientLeaseRecord] {
    guard let index = rounds.firstIndex(where: { $0.id == id }) else { return [] }
    var ended = rounds.remove(at: index)
    let outstanding = ended.leases.outstanding
    for record in outstanding { ended.leases.revoke(record.id) }
    let counters = ended.leases.counters
    totals.granted += counters.granted
    totals.accepted += counters.accepted
    totals.acceptedLeaves += counters.acceptedLeaves
    totals.localLeaves += counters.localLeaves
    totals.duplicates += counters.duplicates
    totals.revoked += counters.revoked
    return outstanding
  }

  mutating func takeArrived() -> ArrivedGradient? {
    guard let index = rounds.firstIndex(where: { !$0.arrived.isEmpty }) else { return nil }
    return rounds[index].arrived.removeFirst()
  }

  /// Asks nobody for the gradient of a lease any longer.
  mutating func drop(_ leaseID: UInt64) {
    if let index = index(of: leaseID) { rounds[index].drop(leaseID) }
  }

  /// A gradient came in full.
  mutating func countReceived(byteCount: Int) { totals.wireBytes += byteCount }
}

/// What became of the gradients that others were asked for, since the beginning.
package struct GradientTotals: Sendable, Equatable {
  package var granted = 0
  package var accepted = 0
  package var acceptedLeaves = 0
  package var localLeaves = 0
  package var duplicates = 0
  package var revoked = 0
  /// Bytes of gradients received.
  package var wireBytes = 0

  package init() {}

  package mutating func add(_ now: GradientTotals, since before: GradientTotals) {
    for path: WritableKeyPath<GradientTotals, Int> in [
      \.granted, \.accepted, \.acceptedLeaves, \.localLeaves, \.duplicates, \.revoked, \.wireBytes,
    ] { self[keyPath: path] += now[keyPath: path] - before[keyPath: path] }
  }
}
