// The steps of a sample: queued, leased, accepted or set aside.
extension LeaseTable {
  func state(of key: SampleKey) -> SampleState? {
    guard let states = groups[key.groupOrdinal]?.states, states.indices.contains(key.sampleIndex) else { return nil }
    return states[key.sampleIndex]
  }

  /// The only place where a sample's state changes: the counts and the queue follow it.
  mutating func set(_ key: SampleKey, _ new: SampleState) {
    let group = groups[key.groupOrdinal]!
    let old = group.states[key.sampleIndex]
    groups[key.groupOrdinal]!.states[key.sampleIndex] = new
    cohortCounts.change(from: old, to: new, dueVersion: group.dueVersion)
    if new == .queued { queue.insert(key.groupOrdinal) }
    if old == .queued, new != .queued, !groups[key.groupOrdinal]!.states.contains(.queued) {
      queue.remove(key.groupOrdinal)
    }
  }

  /// Registers a new lease of samples whose states the caller sets.
  mutating func makeLease(
    _ indices: [Int], of ordinal: Int, to worker: WorkerID, versions: ClosedRange<Int>, losses: Int, isHedge: Bool,
    now: Duration
  ) -> LeaseRecord {
    let lease = LeaseRecord(
      id: nextLeaseID, groupOrdinal: ordinal, sampleIndices: indices, worker: worker, policyVersions: versions,
      granted: now, expires: now + min(leaseDuration, maximumLeaseDuration), ends: now + maximumLeaseDuration,
      losses: losses, isHedge: isHedge)
    nextLeaseID &+= 1
    register(lease)
    return lease
  }

  mutating func register(_ lease: LeaseRecord) {
    leases[lease.id] = lease
    holdings.add(lease, dueVersion: groups[lease.groupOrdinal]?.dueVersion)
    nextLook = min(nextLook ?? lease.expires, lease.expires)
  }

  mutating func judge(_ key: SampleKey, leaseID: UInt64, policyVersion: Int) -> ResultVerdict {
    if retired.contains(key.groupOrdinal) { return .duplicate }
    guard let state = state(of: key), let current = currentVersion else { return .unknown }
    if state == .accepted { return .duplicate }
    let due = groups[key.groupOrdinal]!.dueVersion
    guard policyVersion <= current, policyVersion >= staleness.oldest(current: current, due: due) else {
      if case .leased(let holders) = state, holders.contains(leaseID) {
        removeHolder(leaseID, of: key)
      }
      return .stale
    }
    if leases[leaseID]?.isHedge == true { counters.hedgesWon += 1 }
    release(key, wonBy: leaseID)
    return .accepted
  }

  /// The sample is settled: its leases lose it, and the holders who did not finish it are to be told.
  mutating func release(_ key: SampleKey, wonBy winner: UInt64?) {
    if case .leased(let holders)? = state(of: key) {
      for id in holders {
        let worker = leases[id]?.worker
        let ends = shrink(id, by: key.sampleIndex)
        if let winner, let worker, id != winner {
          superseded.append(
            SupersededSample(worker: worker, leaseID: id, sampleIndex: key.sampleIndex, endsLease: ends))
        }
      }
    }
    set(key, .accepted)
  }

  /// - Returns: whether the lease is over.
  @discardableResult
  mutating func shrink(_ id: UInt64, by sampleIndex: Int) -> Bool {
    guard let lease = leases[id] else { return true }
    holdings.shrink(lease, dueVersion: groups[lease.groupOrdinal]?.dueVersion)
    leases[id]!.sampleIndices.removeAll { $0 == sampleIndex }
    guard leases[id]!.sampleIndices.isEmpty else { return false }
    leases[id] = nil
    holdings.end(lease)
    return true
  }

  /// One holder gives a sample up; without another one it is queued again, or set aside after too many losses.
  mutating func removeHolder(_ id: UInt64, of key: SampleKey, isLoss: Bool = false) {
    guard case .leased(let holders)? = state(of: key) else { return }
    shrink(id, by: key.sampleIndex)
    if isLoss { groups[key.groupOrdinal]!.losses[key.sampleIndex] += 1 }
    let others = holders.filter { $0 != id }
    if !others.isEmpty { return set(key, .leased(others)) }
    if groups[key.groupOrdinal]!.losses[key.sampleIndex] >= maximumLosses {
      counters.setAside += 1
      newlySetAside.append(key)
      return set(key, .setAside)
    }
    counters.requeued += 1
    set(key, .queued)
  }

  mutating func takeBack(_ lease: LeaseRecord, isLoss: Bool) {
    for index in lease.sampleIndices {
      removeHolder(
        lease.id, of: SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index), isLoss: isLoss)
    }
  }

  /// Takes a retired group back: some of its samples turned out to be of no use, and are queued again.
  ///
  /// - Parameter accepted: indices of the samples that stay as they are.
  /// - Throws: `CoordinationError` when the group was not retired.
  public mutating func restore(
    groupOrdinal: Int, sampleCount: Int, accepted: Set<Int>, dueVersion: Int? = nil, kind: Int = 0
  ) throws {
    guard retired.contains(groupOrdinal) else {
      throw CoordinationError("group \(groupOrdinal) cannot be taken back: it was never finished")
    }
    retired.remove(groupOrdinal)
    try enqueue(groupOrdinal: groupOrdinal, sampleCount: sampleCount, dueVersion: dueVersion, kind: kind)
    for index in accepted.sorted() where index < sampleCount {
      set(SampleKey(groupOrdinal: groupOrdinal, sampleIndex: index), .accepted)
    }
    counters.requeued += sampleCount - accepted.count
  }
}
