/// An aligned run of leaves lent to one worker: a node of the tree along which gradients are summed.
public struct GradientLeaseRecord: Sendable, Equatable {
  public var id: UInt64
  public var worker: WorkerID
  /// index 2^level ..< (index + 1) 2^level, of those leaves that there are.
  public var leaves: Range<Int>
  public var rows: Int
  public var granted: Duration
  /// When it should be back.
  public var expected: Duration
  /// When it is lost unless a heartbeat names it.
  public var expires: Duration
  /// The worker says that it is computed, and waits to send it.
  public var isComputed = false
}

/// What becomes of a gradient that a worker has computed.
public enum GradientVerdict: Sendable, Equatable {
  /// Send it.
  case wanted
  /// Its leaves are computed, or being computed, by others.
  case duplicate
  /// No such lease in this step.
  case unknown
}

/// Who computes which leaves of one step's gradient: a pure state machine with the time passed in. The learner takes leaves
/// from the front, workers are lent aligned runs from the back, in whatever is left between them.
///
///     var leases = GradientLeases(leafRows: rows, options: options, firstLeaseID: id)
///     let lease = leases.grant(to: worker, atMost: shares.rows[0], expectedSeconds: { … }, now: now)
///     while let leaf = leases.takeLocal(now: now) { …compute…; leases.finishLocal(leaf) }
///
/// Every leaf is pending, with the learner, leased or done. A leased one becomes pending again when its worker is lost, its
/// lease expires, or it is so late that the learner is better off without it.
public struct GradientLeases: Sendable {
  public struct Options: Sendable, Equatable {
    /// Time until a lease expires unless a heartbeat names it.
    public var leaseDuration: Duration
    /// A lease is late after this many times its expected time …
    public var patience = 1.5
    /// … and this much more.
    public var grace: Duration = .milliseconds(500)

    public init(leaseDuration: Duration) { self.leaseDuration = leaseDuration }
  }

  public struct Counters: Sendable, Equatable {
    public var granted = 0
    public var accepted = 0
    public var acceptedLeaves = 0
    public var localLeaves = 0
    public var duplicates = 0
    public var unknown = 0
    /// Leases that were given up: lost, expired, late or refused.
    public var revoked = 0

    public init() {}
  }

  enum LeafState: Sendable, Equatable {
    case pending
    case local
    case leased(UInt64)
    case done
  }

  public private(set) var counters = Counters()
  public let leafRows: [Int]
  private let options: Options
  private var states: [LeafState]
  private var nextLeaseID: UInt64
  private var leases: [UInt64: GradientLeaseRecord] = [:]
  /// Given up: still welcome while nobody else has begun with its leaves.
  private var revoked: [UInt64: GradientLeaseRecord] = [:]
  /// Leaves that no worker may have (again).
  private var localOnly: Set<Int> = []
  /// When the learner began with the leaf that it is at.
  private var localSince: Duration?

  /// - Parameters:
  ///   - leafRows: rows of each leaf; at least one leaf.
  ///   - firstLeaseID: leases of different steps and learner processes must not share ids; never 0.
  public init(leafRows: [Int], options: Options, firstLeaseID: UInt64) {
    self.leafRows = leafRows
    self.options = options
    states = Array(repeating: .pending, count: leafRows.count)
    nextLeaseID = max(1, firstLeaseID)
  }

  public var isComplete: Bool { states.allSatisfy { $0 == .done } }
  public var outstanding: [GradientLeaseRecord] { leases.values.sorted { $0.id < $1.id } }
  public func lease(_ id: UInt64) -> GradientLeaseRecord? { leases[id] }
  /// The id that the next lease would have.
  public var nextID: UInt64 { nextLeaseID }
  /// Rows that nobody has begun with.
  public var pendingRows: Int { zip(states, leafRows).reduce(0) { $1.0 == .pending ? $0 + $1.1 : $0 } }

  // MARK: The learner's own

  /// The next leaf for the learner to compute: the first that is pending; nil when there is none.
  ///
  /// - Parameter now: when it begins; nil: it counts as nearly done.
  public mutating func takeLocal(now: Duration? = nil) -> Int? {
    guard let leaf = states.firstIndex(of: .pending) else { return nil }
    states[leaf] = .local
    localSince = now
    return leaf
  }

  /// Rows of the leaf that the learner is at which it has not come to yet, at so many rows a second.
  public func localRowsLeft(learnerRowsPerSecond rate: Double, now: Duration) -> Double {
    guard let localSince, let leaf = states.firstIndex(of: .local) else { return 0 }
    return max(0, Double(leafRows[leaf]) - rate * ((now - localSince) / .seconds(1)))
  }

  public mutating func finishLocal(_ leaf: Int) {
    precondition(states[leaf] == .local, "leaf \(leaf) is not the learner's")
    states[leaf] = .done
    counters.localLeaves += 1
  }

  // MARK: Workers

  /// Lends the largest aligned run of pending leaves that ends with the last pending leaf and has at most `limit` rows, or
  /// that one leaf.
  ///
  /// - Parameters:
  ///   - limit: the worker's share.
  ///   - mustFit: nothing is lent when that one leaf has more rows.
  ///   - mayHave: whether the worker may compute a leaf.
  ///   - isWorthwhile: whether a run of so many rows would be back before the learner came to it.
  ///   - expectedSeconds: until a run of so many rows is back.
  public mutating func grant(
    to worker: WorkerID, atMost limit: Double, mustFit: Bool = false, now: Duration,
    mayHave: (_ leaf: Int) -> Bool = { _ in true }, isWorthwhile: (_ rows: Int) -> Bool,
    expectedSeconds: (_ rows: Int) -> Double
  ) -> GradientLeaseRecord? {
    func isFree(_ leaf: Int) -> Bool { states[leaf] == .pending && !localOnly.contains(leaf) && mayHave(leaf) }
    guard let last = states.indices.last(where: isFree) else { return nil }
    var run = last..<last + 1
    var rows = leafRows[last]
    var size = 2
    while size / 2 < states.count {
      let start = last / size * size
      let wider = start..<min(states.count, start + size)
      let widerRows = leafRows[wider].reduce(0, +)
      guard wider.allSatisfy(isFree), Double(widerRows) <= limit else { break }
      (run, rows) = (wider, widerRows)
      size *= 2
    }
    guard !mustFit || Double(rows) <= limit, isWorthwhile(rows) else { return nil }
    let record = GradientLeaseRecord(
      id: nextLeaseID, worker: worker, leaves: run, rows: rows, granted: now,
      expected: now + .seconds(expectedSeconds(rows)), expires: now + options.leaseDuration)
    nextLeaseID += 1
    for leaf in run { states[leaf] = .leased(record.id) }
    leases[record.id] = record
    counters.granted += 1
    return record
  }

  /// A heartbeat names these leases.
  ///
  /// - Returns: those that are not the worker's (any longer).
  public mutating func renew(_ ids: [UInt64], by worker: WorkerID, now: Duration) -> [UInt64] {
    ids.filter { id in
      guard leases[id]?.worker == worker else { return true }
      leases[id]!.expires = now + options.leaseDuration
      return false
    }
  }

  /// A worker has computed a lease and asks whether to send it. A lease that was given up is taken up again while nobody has
  /// begun with its leaves; by whom it was computed does not matter (a worker that was lost has another name when it is back).
  public mutating func computed(_ id: UInt64, by worker: WorkerID, now: Duration) -> GradientVerdict {
    if leases[id] == nil, let record = revoked[id], record.leaves.allSatisfy({ states[$0] == .pending }) {
      revoked[id] = nil
      leases[id] = record
      for leaf in record.leaves { states[leaf] = .leased(id) }
    }
    guard leases[id] != nil else {
      let isKnown = revoked[id] != nil
      if isKnown { counters.duplicates += 1 } else { counters.unknown += 1 }
      return isKnown ? .duplicate : .unknown
    }
    leases[id]!.worker = worker
    leases[id]!.isComputed = true
    leases[id]!.expires = now + options.leaseDuration
    return .wanted
  }

  /// Bytes of the gradient are arriving: as good as a heartbeat, and never late.
  public mutating func arriving(_ id: UInt64, expectedSeconds: Double, now: Duration) {
    guard leases[id] != nil else { return }
    leases[id]!.expires = now + options.leaseDuration
    leases[id]!.expected = max(leases[id]!.expected, now + .seconds(expectedSeconds))
  }

  /// The whole gradient is here.
  ///
  /// - Returns: the leaves, now done; nil when it was given up in the meantime.
  public mutating func complete(_ id: UInt64) -> Range<Int>? {
    guard let record = leases.removeValue(forKey: id) else { return nil }
    for leaf in record.leaves { states[leaf] = .done }
    // A repeated word about it is a duplicate.
    revoked[id] = record
    counters.accepted += 1
    counters.acceptedLeaves += record.leaves.count
    return record.leaves
  }

  /// Gives a lease up; its leaves are pending again.
  ///
  /// - Parameter toLearner: no worker may have these leaves again: what came of them was not usable.
  @discardableResult
  public mutating func revoke(_ id: UInt64, toLearner: Bool = false) -> GradientLeaseRecord? {
    guard let record = leases.removeValue(forKey: id) else { return nil }
    for leaf in record.leaves { states[leaf] = .pending }
    if toLearner { localOnly.formUnion(record.leaves) } else { revoked[id] = record }
    counters.revoked += 1
    return record
  }

  /// What came complete turned out not to be usable: the learner computes these leaves itself.
  ///
  /// - Parameter toLearner: false: another worker may.
  public mutating func reject(_ leaves: Range<Int>, toLearner: Bool = true) {
    for leaf in leaves where states[leaf] == .done { states[leaf] = .pending }
    if toLearner { localOnly.formUnion(leaves) }
    counters.revoked += 1
    counters.accepted -= 1
    counters.acceptedLeaves -= leaves.count
  }

  /// Gives up what a lost worker held.
  public mutating func remove(worker: WorkerID) -> [GradientLeaseRecord] {
    outstanding.filter { $0.worker == worker }.compactMap { revoke($0.id) }
  }

  /// The same worker process under a new session takes its leases along.
  public mutating func transfer(from old: WorkerID, to new: WorkerID) {
    for id in leases.keys where leases[id]!.worker == old { leases[id]!.worker = new }
  }

  /// Gives up leases that nobody renewed.
  public mutating func expire(now: Duration) -> [GradientLeaseRecord] {
    outstanding.filter { $0.expires <= now }.compactMap { revoke($0.id) }
  }

  /// The learner has nothing left to take: gives up the lease that it would rather compute itself.
  ///
  /// That is one that is late, or one that is expected so far in the future that the learner, beginning now, would be done
  /// before; of several the one with the fewest rows.
  ///
  /// - Parameters:
  ///   - learnerRowsPerSecond: the learner's speed; of a relay's, that of the worker who is to have it.
  ///   - isAllowed: which leases may be given up.
  public mutating func takeOver(
    learnerRowsPerSecond rate: Double, now: Duration, isAllowed: (GradientLeaseRecord) -> Bool = { _ in true }
  ) -> GradientLeaseRecord? {
    let candidates = outstanding.filter { lease in
      guard isAllowed(lease) else { return false }
      let allowed = lease.expected - lease.granted
      let limit = lease.granted + allowed * options.patience + options.grace
      if now >= limit { return true }
      return now + .seconds(Double(lease.rows) / max(rate, 1e-9)) + options.grace < lease.expected
    }
    guard let chosen = candidates.min(by: { ($0.rows, $0.id) < ($1.rows, $1.id) }) else { return nil }
    return revoke(chosen.id)
  }
}
