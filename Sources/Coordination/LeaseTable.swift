/// Who works on what: a pure state machine over (group, sample), with the time passed in. Every sample is queued, leased (to
/// one worker, or to two when it is hedged), accepted or set aside; only a first result within the staleness bound is
/// accepted, whichever lease it came from.
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
    /// Samples that a second worker was lent, and those that it finished first.
    public var hedged = 0
    public var hedgesWon = 0
    /// Samples of a lost session that its worker took up again.
    public var reclaimed = 0
    /// Samples given up because too many workers were lost with them.
    public var setAside = 0

    public init() {}
  }

  enum SampleState: Sendable, Equatable {
    case queued
    /// The ids of its leases, one or two.
    case leased([UInt64])
    case accepted
    case setAside
  }

  struct Group: Sendable {
    var states: [SampleState]
    /// Per sample, the workers that were lost with it.
    var losses: [Int]
    var dueVersion: Int
    /// What it asks of a worker, as a number of the caller's: groups of one kind are done alike.
    var kind: Int
  }

  public internal(set) var counters = Counters()
  /// `nil` before the first version: nothing is granted then.
  public private(set) var currentVersion: Int?
  public let staleness: StalenessPolicy
  let leaseDuration: Duration
  let maximumLeaseDuration: Duration
  let maximumLosses: Int
  var nextLeaseID: UInt64
  var groups: [Int: Group] = [:]
  var queue = GroupQueue()
  var leases: [UInt64: LeaseRecord] = [:]
  var holdings = LeaseHoldings()
  /// Leases of lost sessions whose workers may come back.
  var lostLeases: [UInt64: LeaseRecord] = [:]
  var cohortCounts = LeaseCohorts()
  var retired = OrdinalSet()
  /// At or before the earliest expiry.
  var nextLook: Duration?
  var superseded: [SupersededSample] = []
  var newlySetAside: [SampleKey] = []
  var declined = DeclinedKinds()

  /// - Parameters:
  ///   - leaseDuration: time until a lease expires unless renewed.
  ///   - maximumLeaseDuration: time after which renewals do not help: the bound on a worker that lives but does not work.
  ///   - maximumLosses: workers that may be lost with a sample before it is set aside.
  ///   - firstLeaseID: leases of different learner processes must not share ids; never 0.
  public init(
    staleness: StalenessPolicy, leaseDuration: Duration, maximumLeaseDuration: Duration = .seconds(3600),
    maximumLosses: Int = .max, firstLeaseID: UInt64 = 1
  ) {
    self.staleness = staleness
    self.leaseDuration = leaseDuration
    self.maximumLeaseDuration = maximumLeaseDuration
    self.maximumLosses = max(1, maximumLosses)
    nextLeaseID = max(1, firstLeaseID)
  }

  /// Leases that are out, by id.
  public var outstanding: [LeaseRecord] { leases.values.sorted { $0.id < $1.id } }

  public func lease(_ id: UInt64) -> LeaseRecord? { leases[id] }

  /// A lease of a lost session whose worker may come back.
  public func lostLease(_ id: UInt64) -> LeaseRecord? { lostLeases[id] }

  public var queuedSampleCount: Int { cohortCounts.queuedSampleCount }
  /// Samples that are lent; a hedged one counts once.
  public var leasedSampleCount: Int { cohortCounts.leasedSampleCount }

  /// The cohorts with unfinished samples, the first one due first.
  public var cohorts: [LeaseCohort] { cohortCounts.unfinished }

  /// Samples of a cohort that are neither finished nor given up.
  public func unfinished(dueVersion: Int) -> (queued: Int, leased: Int) {
    cohortCounts[dueVersion].map { ($0.queuedSamples, $0.leasedSamples) } ?? (0, 0)
  }

  /// Samples that a worker holds.
  public func leasedCount(of worker: WorkerID) -> Int { holdings[worker]?.samples ?? 0 }

  /// Samples of one cohort that a worker holds, hedges excepted.
  public func leasedCount(of worker: WorkerID, dueVersion: Int) -> Int {
    holdings[worker]?.samplesByDue[dueVersion] ?? 0
  }

  /// - Parameters:
  ///   - dueVersion: the learner's version when it will train on the group; its samples then come from versions that will still
  ///     be fresh enough. `nil`: they are judged by the version current when they arrive.
  ///   - kind: what it asks of a worker (`decline`).
  /// - Throws: `CoordinationError` when the ordinal was used before or the group is empty.
  public mutating func enqueue(groupOrdinal: Int, sampleCount: Int, dueVersion: Int? = nil, kind: Int = 0) throws {
    guard sampleCount > 0 else { throw CoordinationError("group \(groupOrdinal) has no samples") }
    guard groupOrdinal >= 0 else { throw CoordinationError("group ordinal \(groupOrdinal) is negative") }
    guard groups[groupOrdinal] == nil, !retired.contains(groupOrdinal) else {
      throw CoordinationError("group ordinal \(groupOrdinal) was used before; ordinals are never reused in a run")
    }
    let due = dueVersion ?? .max
    groups[groupOrdinal] = Group(
      states: Array(repeating: .queued, count: sampleCount), losses: Array(repeating: 0, count: sampleCount),
      dueVersion: due, kind: kind)
    cohortCounts.enqueue(sampleCount, dueVersion: due)
    queue.insert(groupOrdinal)
  }

  /// A worker still works on these leases. Ids that are not its own are ignored.
  public mutating func renew(_ ids: some Sequence<UInt64>, by worker: WorkerID, now: Duration) {
    for id in ids {
      guard let lease = leases[id], lease.worker == worker else { continue }
      leases[id]!.expires = min(now + leaseDuration, lease.ends)
    }
  }

  /// Takes back the leases whose time is over. Their samples are queued again, or set aside.
  public mutating func expire(now: Duration) -> [LeaseRecord] {
    guard let look = nextLook, look <= now else { return [] }
    let expired = leases.values.filter { $0.expires <= now }.sorted { $0.id < $1.id }
    counters.expiredLeases += expired.count
    for lease in expired { takeBack(lease, isLoss: true) }
    nextLook = leases.values.lazy.map(\.expires).min()
    return expired
  }

  /// A worker is gone: its samples are queued again at once, or set aside.
  /// - Parameter isLoss: it did not say goodbye. Its samples may be why, and are counted; and it may come back and go on with
  ///   its leases (`reclaim`).
  @discardableResult
  public mutating func remove(worker: WorkerID, isLoss: Bool = true) -> [LeaseRecord] {
    let lost = (holdings[worker]?.leases ?? []).compactMap { leases[$0] }.sorted { $0.id < $1.id }
    for lease in lost {
      takeBack(lease, isLoss: isLoss)
      if isLoss { lostLeases[lease.id] = lease }
    }
    holdings.remove(worker)
    declined.remove(worker)
    return lost
  }

  /// The same worker process came back under a new session and still holds its leases.
  public mutating func transfer(from old: WorkerID, to new: WorkerID) {
    declined.move(from: old, to: new)
    for id in holdings.move(from: old, to: new) { leases[id]?.worker = new }
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
    let oldest = staleness.oldest(current: version)
    let void = leases.values.filter { $0.policyVersions.upperBound < oldest }.sorted { $0.id < $1.id }
    for lease in void { takeBack(lease, isLoss: false) }
    lostLeases = lostLeases.filter { $0.value.policyVersions.upperBound >= oldest }
    return void
  }

  /// An accepted sample turned out to be of no use (stale before it was trained on): it is queued again.
  public mutating func reopen(_ key: SampleKey) {
    guard state(of: key) == .accepted else { return }
    counters.requeued += 1
    set(key, .queued)
  }

  /// Nobody here needs the sample any longer: its holders are to be told (`takeSuperseded`).
  public mutating func withdraw(_ key: SampleKey) {
    guard let state = state(of: key), state != .accepted else { return }
    release(key, wonBy: 0)
  }

  /// A worker does not finish these samples of its lease: they are queued again, or set aside.
  /// - Parameter isLoss: workers were lost with them.
  public mutating func giveBack(_ id: UInt64, samples: [Int], by worker: WorkerID, isLoss: Bool) {
    guard let lease = leases[id], lease.worker == worker else { return }
    for index in samples where lease.sampleIndices.contains(index) {
      removeHolder(id, of: SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index), isLoss: isLoss)
    }
  }

  /// Samples of a group that nobody has been lent, ascending.
  public func queuedSamples(of groupOrdinal: Int) -> [Int] {
    guard let states = groups[groupOrdinal]?.states else { return [] }
    return states.indices.filter { states[$0] == .queued }
  }

  /// The trainer has the whole group: what still arrives for it is a duplicate. Also takes back what is not finished.
  public mutating func retire(groupOrdinal: Int) {
    guard let group = groups[groupOrdinal] else { return }
    for index in group.states.indices {
      release(SampleKey(groupOrdinal: groupOrdinal, sampleIndex: index), wonBy: nil)
    }
    groups[groupOrdinal] = nil
    cohortCounts.forgetIfFinished(dueVersion: group.dueVersion)
    if !lostLeases.isEmpty { lostLeases = lostLeases.filter { $0.value.groupOrdinal != groupOrdinal } }
    retired.insert(groupOrdinal)
  }

  /// Whether all samples of a group were accepted or set aside.
  public func isComplete(groupOrdinal: Int) -> Bool {
    retired.contains(groupOrdinal)
      || groups[groupOrdinal]?.states.allSatisfy { $0 == .accepted || $0 == .setAside } == true
  }

  /// Samples that somebody else finished since the last call: their holders should be told.
  public mutating func takeSuperseded() -> [SupersededSample] {
    defer { superseded = [] }
    return superseded
  }

  /// Samples that were given up since the last call.
  public mutating func takeSetAside() -> [SampleKey] {
    defer { newlySetAside = [] }
    return newlySetAside
  }
}
