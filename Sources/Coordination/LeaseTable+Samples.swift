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
    let due = group.dueVersion
    switch old {
    case .queued: cohortsByDue[due, default: LeaseCohort(dueVersion: due)].queuedSamples -= 1
    case .leased: cohortsByDue[due, default: LeaseCohort(dueVersion: due)].leasedSamples -= 1
    case .accepted, .setAside: break
    }
    switch new {
    case .queued:
      cohortsByDue[due, default: LeaseCohort(dueVersion: due)].queuedSamples += 1
      insertIntoQueue(key.groupOrdinal)
    case .leased: cohortsByDue[due, default: LeaseCohort(dueVersion: due)].leasedSamples += 1
    case .accepted, .setAside: break
    }
    if old == .queued, new != .queued, !groups[key.groupOrdinal]!.states.contains(.queued) {
      removeFromQueue(key.groupOrdinal)
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
    holdings[lease.worker, default: Holdings()].leases.insert(lease.id)
    count(lease, lease.sampleIndices.count)
    nextLook = min(nextLook ?? lease.expires, lease.expires)
  }

  mutating func count(_ lease: LeaseRecord, _ change: Int) {
    holdings[lease.worker]?.samples += change
    if lease.losses > 0 { holdings[lease.worker]?.suspects += change }
    if !lease.isHedge, let due = groups[lease.groupOrdinal]?.dueVersion {
      let before = holdings[lease.worker]?.samplesByDue[due] ?? 0
      holdings[lease.worker]?.samplesByDue[due] = before + change == 0 ? nil : before + change
    }
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
    count(lease, -1)
    leases[id]!.sampleIndices.removeAll { $0 == sampleIndex }
    guard leases[id]!.sampleIndices.isEmpty else { return false }
    leases[id] = nil
    holdings[lease.worker]?.leases.remove(id)
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

  func queuePosition(_ ordinal: Int) -> Int {
    var low = 0
    var high = groupsWithQueue.count
    while low < high {
      let middle = (low + high) / 2
      if groupsWithQueue[middle] < ordinal { low = middle + 1 } else { high = middle }
    }
    return low
  }

  mutating func insertIntoQueue(_ ordinal: Int) {
    let position = queuePosition(ordinal)
    if position == groupsWithQueue.count || groupsWithQueue[position] != ordinal {
      groupsWithQueue.insert(ordinal, at: position)
    }
  }

  mutating func removeFromQueue(_ ordinal: Int) {
    let position = queuePosition(ordinal)
    if position < groupsWithQueue.count, groupsWithQueue[position] == ordinal { groupsWithQueue.remove(at: position) }
  }
}
