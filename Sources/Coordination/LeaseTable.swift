/// A session's identity, unique within a learner process.
public struct WorkerID: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let value: UInt64

  public init(_ value: UInt64) { self.value = value }

  public static func < (left: Self, right: Self) -> Bool { left.value < right.value }
  public var description: String { String(value) }
}

/// One sample of one group: what is accounted for exactly once.
public struct SampleKey: Sendable, Hashable {
  public var groupOrdinal: Int
  public var sampleIndex: Int

  public init(groupOrdinal: Int, sampleIndex: Int) {
    self.groupOrdinal = groupOrdinal
    self.sampleIndex = sampleIndex
  }
}

/// Samples of one group lent to one worker.
public struct LeaseRecord: Sendable, Equatable {
  public var id: UInt64
  public var groupOrdinal: Int
  /// Ascending; samples leave it as their results are accepted.
  public var sampleIndices: [Int]
  public var worker: WorkerID
  public var policyVersions: ClosedRange<Int>
  public var expires: Duration
  /// No renewal reaches beyond this.
  public var ends: Duration
}

/// What became of a result.
public enum ResultVerdict: Sendable, Equatable {
  case accepted
  case duplicate
  case stale
  case unknown
}

/// Who works on what: a pure state machine over (group, sample), with the time passed in. Every sample is queued, leased or
/// accepted; only a first result within the staleness bound is accepted, whichever lease it came from.
///
///     var table = LeaseTable(staleness: StalenessPolicy(maximum: 0), leaseDuration: .seconds(30))
///     table.advance(to: 0)
///     try table.enqueue(groupOrdinal: 0, sampleCount: 8)
///     let lease = table.grant(to: worker, atMost: 4, now: now)
///
/// Instants are durations since any fixed origin.
public struct LeaseTable: Sendable {
  public struct Counters: Sendable, Equatable {
    public var granted = 0
    public var accepted = 0
    public var duplicate = 0
    public var stale = 0
    public var unknown = 0
    /// Samples that went back to the queue, for whatever reason.
    public var requeued = 0
    public var expiredLeases = 0

    public init() {}
  }

  enum SampleState: Sendable, Equatable {
    case queued
    case leased(UInt64)
    case accepted
  }

  public private(set) var counters = Counters()
  /// `nil` before the first version: nothing is granted then.
  public private(set) var currentVersion: Int?
  public let staleness: StalenessPolicy
  private let leaseDuration: Duration
  private let maximumLeaseDuration: Duration
  private var nextLeaseID: UInt64
  private var groups: [Int: [SampleState]] = [:]
  /// Ascending ordinals of the groups that have queued samples: the oldest group is served first.
  private var groupsWithQueue: [Int] = []
  private var leases: [UInt64: LeaseRecord] = [:]
  private var retired = OrdinalSet()

  public private(set) var queuedSampleCount = 0
  public private(set) var leasedSampleCount = 0

  /// - Parameters:
  ///   - leaseDuration: time until a lease expires unless renewed.
  ///   - maximumLeaseDuration: time after which renewals do not help: the bound on a worker that lives but does not work.
  ///   - firstLeaseID: leases of different learner processes must not share ids; never 0.
  public init(
    staleness: StalenessPolicy, leaseDuration: Duration, maximumLeaseDuration: Duration = .seconds(3600),
    firstLeaseID: UInt64 = 1
  ) {
    self.staleness = staleness
    self.leaseDuration = leaseDuration
    self.maximumLeaseDuration = maximumLeaseDuration
    nextLeaseID = max(1, firstLeaseID)
  }

  /// Leases that are out, by id.
  public var outstanding: [LeaseRecord] { leases.values.sorted { $0.id < $1.id } }

  public func lease(_ id: UInt64) -> LeaseRecord? { leases[id] }

  /// - Throws: `CoordinationError` when the ordinal was used before or the group is empty.
  public mutating func enqueue(groupOrdinal: Int, sampleCount: Int) throws {
    guard sampleCount > 0 else { throw CoordinationError("group \(groupOrdinal) has no samples") }
    guard groupOrdinal >= 0 else { throw CoordinationError("group ordinal \(groupOrdinal) is negative") }
    guard groups[groupOrdinal] == nil, !retired.contains(groupOrdinal) else {
      throw CoordinationError("group ordinal \(groupOrdinal) was used before; ordinals are never reused in a run")
    }
    groups[groupOrdinal] = Array(repeating: .queued, count: sampleCount)
    queuedSampleCount += sampleCount
    insertIntoQueue(groupOrdinal)
  }

  /// Lends up to `limit` samples of the oldest waiting group; `nil` when there is nothing to do.
  public mutating func grant(to worker: WorkerID, atMost limit: Int, now: Duration) -> LeaseRecord? {
    guard limit > 0, let current = currentVersion, let ordinal = groupsWithQueue.first else { return nil }
    let id = nextLeaseID
    var taken: [Int] = []
    for (index, state) in groups[ordinal]!.enumerated() where state == .queued && taken.count < limit {
      groups[ordinal]![index] = .leased(id)
      taken.append(index)
    }
    nextLeaseID &+= 1
    queuedSampleCount -= taken.count
    leasedSampleCount += taken.count
    if !groups[ordinal]!.contains(.queued) { groupsWithQueue.removeFirst() }
    counters.granted += taken.count
    let lease = LeaseRecord(
      id: id, groupOrdinal: ordinal, sampleIndices: taken, worker: worker,
      policyVersions: staleness.leaseVersions(current: current),
      expires: now + min(leaseDuration, maximumLeaseDuration),
      ends: now + maximumLeaseDuration)
    leases[id] = lease
    return lease
  }

  /// A worker still works on these leases. Ids that are not its own are ignored.
  public mutating func renew(_ ids: some Sequence<UInt64>, by worker: WorkerID, now: Duration) {
    for id in ids {
      guard let lease = leases[id], lease.worker == worker else { continue }
      leases[id]!.expires = min(now + leaseDuration, lease.ends)
    }
  }

  /// Takes back the leases whose time is over. Their samples are queued again.
  public mutating func expire(now: Duration) -> [LeaseRecord] {
    let expired = leases.values.filter { $0.expires <= now }.sorted { $0.id < $1.id }
    counters.expiredLeases += expired.count
    for lease in expired { takeBack(lease) }
    return expired
  }

  /// The next instant at which a lease expires.
  public var nextExpiry: Duration? { leases.values.lazy.map(\.expires).min() }

  /// A worker is gone: its samples are queued again at once.
  @discardableResult
  public mutating func remove(worker: WorkerID) -> [LeaseRecord] {
    let lost = leases.values.filter { $0.worker == worker }.sorted { $0.id < $1.id }
    for lease in lost { takeBack(lease) }
    return lost
  }

  /// The same worker process came back under a new session and still holds its leases.
  public mutating func transfer(from old: WorkerID, to new: WorkerID) {
    for (id, lease) in leases where lease.worker == old { leases[id]!.worker = new }
  }

  /// Judges a result. `accepted` is said once per sample, whatever arrives.
  public mutating func complete(_ key: SampleKey, leaseID: UInt64, policyVersion: Int) -> ResultVerdict {
    let verdict = judge(key, leaseID: leaseID, policyVersion: policyVersion)
    switch verdict {
    case .accepted: counters.accepted += 1
    case .duplicate: counters.duplicate += 1
    case .stale: counters.stale += 1
    case .unknown: counters.unknown += 1
    }
    return verdict
  }

  /// The learner moved on. Leases that could only yield stale samples are taken back and returned.
  @discardableResult
  public mutating func advance(to version: Int) -> [LeaseRecord] {
    currentVersion = version
    let void = outstanding.filter { $0.policyVersions.upperBound < staleness.oldest(current: version) }
    for lease in void { takeBack(lease) }
    return void
  }

  /// An accepted sample turned out to be of no use (stale before it was trained on): it is queued again.
  public mutating func reopen(_ key: SampleKey) {
    guard state(of: key) == .accepted else { return }
    requeue(key)
  }

  /// The trainer has the whole group: what still arrives for it is a duplicate. Also takes back what is not finished.
  public mutating func retire(groupOrdinal: Int) {
    guard let states = groups[groupOrdinal] else { return }
    for (index, state) in states.enumerated() {
      leave(SampleKey(groupOrdinal: groupOrdinal, sampleIndex: index), state)
    }
    groups[groupOrdinal] = nil
    retired.insert(groupOrdinal)
  }

  /// Whether all samples of a group were accepted.
  public func isComplete(groupOrdinal: Int) -> Bool {
    retired.contains(groupOrdinal) || groups[groupOrdinal]?.allSatisfy { $0 == .accepted } == true
  }
}

extension LeaseTable {
  private func state(of key: SampleKey) -> SampleState? {
    guard let states = groups[key.groupOrdinal], states.indices.contains(key.sampleIndex) else { return nil }
    return states[key.sampleIndex]
  }

  private mutating func judge(_ key: SampleKey, leaseID: UInt64, policyVersion: Int) -> ResultVerdict {
    if retired.contains(key.groupOrdinal) { return .duplicate }
    guard let state = state(of: key), let current = currentVersion else { return .unknown }
    if state == .accepted { return .duplicate }
    guard staleness.accepts(version: policyVersion, current: current) else {
      if state == .leased(leaseID) {
        leave(key, state)
        requeue(key)
      }
      return .stale
    }
    leave(key, state)
    groups[key.groupOrdinal]![key.sampleIndex] = .accepted
    return .accepted
  }

  /// Removes a sample from the queue or from its lease; the caller sets its next state.
  private mutating func leave(_ key: SampleKey, _ state: SampleState) {
    switch state {
    case .accepted: break
    case .queued:
      queuedSampleCount -= 1
      groups[key.groupOrdinal]![key.sampleIndex] = .accepted
      if !groups[key.groupOrdinal]!.contains(.queued) { removeFromQueue(key.groupOrdinal) }
    case .leased(let id):
      leasedSampleCount -= 1
      groups[key.groupOrdinal]![key.sampleIndex] = .accepted
      leases[id]?.sampleIndices.removeAll { $0 == key.sampleIndex }
      if leases[id]?.sampleIndices.isEmpty == true { leases[id] = nil }
    }
  }

  private mutating func requeue(_ key: SampleKey) {
    groups[key.groupOrdinal]![key.sampleIndex] = .queued
    queuedSampleCount += 1
    counters.requeued += 1
    insertIntoQueue(key.groupOrdinal)
  }

  private mutating func takeBack(_ lease: LeaseRecord) {
    leases[lease.id] = nil
    leasedSampleCount -= lease.sampleIndices.count
    for index in lease.sampleIndices {
      requeue(SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index))
    }
  }

  private func queuePosition(_ ordinal: Int) -> Int {
    var low = 0
    var high = groupsWithQueue.count
    while low < high {
      let middle = (low + high) / 2
      if groupsWithQueue[middle] < ordinal { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private mutating func insertIntoQueue(_ ordinal: Int) {
    let position = queuePosition(ordinal)
    if position == groupsWithQueue.count || groupsWithQueue[position] != ordinal {
      groupsWithQueue.insert(ordinal, at: position)
    }
  }

  private mutating func removeFromQueue(_ ordinal: Int) {
    let position = queuePosition(ordinal)
    if position < groupsWithQueue.count, groupsWithQueue[position] == ordinal { groupsWithQueue.remove(at: position) }
  }
}
