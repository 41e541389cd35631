import Coordination
import Wire

/// Where the front end of a relay has its work from and sends results to. Both are called on the front end's I/O thread.
package struct RelayUpstream: Sendable {
  /// Incarnations of the relays from the learner down to this one.
  var path: [UInt64]
  /// The learner's.
  var maxStaleness = 0
  /// Takes a result into keeping: its sender is told next that it may forget it.
  var deliver: @Sendable (TrajectoryResult) -> Void
  var giveBack: @Sendable (ReturnedWork) -> Void

  package init(
    path: [UInt64], maxStaleness: Int, deliver: @escaping @Sendable (TrajectoryResult) -> Void,
    giveBack: @escaping @Sendable (ReturnedWork) -> Void
  ) {
    self.path = path
    self.maxStaleness = maxStaleness
    self.deliver = deliver
    self.giveBack = giveBack
  }
}

/// How many samples a relay's workers could hold, and how many of them they do.
package struct RelayLoad: Sendable, Equatable {
  /// Samples that the workers together want to hold.
  package var capacity = 0
  /// Samples that are not finished, and those of them that nobody works on.
  package var held = 0
  package var queued = 0
  package var tokensPerSecond = 0.0
  package var activeSlots = 0

  package init(capacity: Int = 0, held: Int = 0, queued: Int = 0) {
    self.capacity = capacity
    self.held = held
    self.queued = queued
  }
}

/// What a relay was lent, and the names that its own lease table has for it. Pure.
///
/// Each lease from above is a group of the table, under an ordinal of the relay's own (a prompt's group may come in several
/// leases, and come again), and its i-th sample is the group's sample i. On the wire, above and below, samples keep the names
/// that the learner gave them.
struct RelayedWork: Sendable {
  private(set) var leases: [Int: Lease] = [:]
  private var ordinals: [UInt64: Int] = [:]
  private var keys: [SampleKey: SampleKey] = [:]
  private var nextOrdinal = 0
  /// Why a worker below could not do what it was lent, the last time.
  var lastRefusal: String?
  /// On the way up.
  private var finished: [TrajectoryResult] = []

  /// - Returns: the group's ordinal; `nil` for a lease that is here already.
  mutating func add(_ lease: Lease) -> Int? {
    guard ordinals[lease.id] == nil else { return nil }
    let ordinal = nextOrdinal
    nextOrdinal += 1
    leases[ordinal] = lease
    ordinals[lease.id] = ordinal
    for (position, index) in lease.sampleIndices.enumerated() {
      keys[SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index)] = SampleKey(
        groupOrdinal: ordinal, sampleIndex: position)
    }
    return ordinal
  }

  mutating func remove(_ ordinal: Int) {
    guard let lease = leases.removeValue(forKey: ordinal) else { return }
    ordinals[lease.id] = nil
    for index in lease.sampleIndices {
      let name = SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index)
      // The same sample may have come again under a newer lease.
      if keys[name]?.groupOrdinal == ordinal { keys[name] = nil }
    }
  }

  func ordinal(of leaseID: UInt64) -> Int? { ordinals[leaseID] }

  /// The table's name for a sample; whichever lease it was drawn under.
  func key(groupOrdinal: Int, sampleIndex: Int) -> SampleKey? {
    keys[SampleKey(groupOrdinal: groupOrdinal, sampleIndex: sampleIndex)]
  }

  /// Learner's sample indices of samples of one of the table's groups, and back; those that it does not have are left out.
  func sampleIndices(_ positions: [Int], of ordinal: Int) -> [Int] {
    guard let lease = leases[ordinal] else { return [] }
    return positions.filter(lease.sampleIndices.indices.contains).map { lease.sampleIndices[$0] }
  }

  func positions(_ sampleIndices: [Int], of ordinal: Int) -> [Int] {
    guard let lease = leases[ordinal] else { return [] }
    return sampleIndices.compactMap { lease.sampleIndices.firstIndex(of: $0) }
  }

  /// Gives a lease that was made from one of the table's groups the learner's names.
  func rename(_ lease: inout Lease) {
    guard let above = leases[lease.groupOrdinal] else { return }
    lease.sampleIndices = sampleIndices(lease.sampleIndices, of: lease.groupOrdinal)
    lease.groupOrdinal = above.groupOrdinal
    lease.policyVersions = above.policyVersions
  }

  mutating func finish(_ result: TrajectoryResult) { finished.append(result) }

  mutating func takeFinished() -> [TrajectoryResult] {
    if finished.isEmpty { return [] }
    defer { finished = [] }
    return finished
  }
}
