extension LeaseTable {
  /// Samples that were lost with workers `losses` times before are lent to one worker in shrinking numbers, so that one that
  /// kills its worker is soon alone and takes no others down with it: 32, 16, 8, 4, 2, 1.
  static func suspectLimit(losses: Int) -> Int { losses <= 0 ? .max : max(1, 64 >> min(losses, 6)) }

  /// Lends up to `limit` samples of the oldest waiting group; `nil` when there is nothing that this worker may have.
  ///
  /// - Parameter dueVersion: of this cohort only.
  public mutating func grant(
    to worker: WorkerID, atMost limit: Int, dueVersion: Int? = nil, now: Duration
  ) -> LeaseRecord? {
    guard limit > 0, let current = currentVersion else { return nil }
    let suspects = holdings[worker]?.suspects ?? 0
    for ordinal in queue.ordinals {
      let group = groups[ordinal]!
      if let dueVersion, group.dueVersion != dueVersion { continue }
      guard canDo(group, worker) else { continue }
      let versions = staleness.leaseVersions(current: current, due: group.dueVersion)
      // Its time has not come: no version there is may sample it.
      if versions.lowerBound > current { continue }
      let queued = group.states.indices.filter { group.states[$0] == .queued }
      for losses in Set(queued.map { group.losses[$0] }).sorted() {
        var room = limit
        if losses > 0 { room = min(room, Self.suspectLimit(losses: losses) - suspects) }
        guard room > 0 else { continue }
        let taken = Array(queued.filter { group.losses[$0] == losses }.prefix(room))
        let lease = makeLease(
          taken, of: ordinal, to: worker, versions: versions, losses: losses, isHedge: false, now: now)
        for index in taken { set(SampleKey(groupOrdinal: ordinal, sampleIndex: index), .leased([lease.id])) }
        counters.granted += taken.count
        return lease
      }
    }
    return nil
  }

  /// Leases whose samples a second worker may be lent too: those due first come first, among them those that have been out
  /// longest. A sample has at most two holders, and none that was ever lost with a worker gets a second one.
  ///
  /// - Parameter dueVersion: nothing that is due later.
  func hedgeable(dueVersion: Int = .max, where isWanted: (LeaseRecord) -> Bool) -> [LeaseRecord] {
    func due(_ lease: LeaseRecord) -> Int { groups[lease.groupOrdinal]?.dueVersion ?? .max }
    return leases.values.filter {
      !$0.isHedge && $0.losses == 0 && due($0) <= dueVersion && isWanted($0)
    }.sorted { (due($0), $0.granted, $0.id) < (due($1), $1.granted, $1.id) }
  }

  /// Lends samples of another worker's lease to a second one: the first result wins, and the other holder is told
  /// (`takeSuperseded`). As noise is keyed, both would sample the same on equal hardware.
  ///
  /// - Returns: `nil` when none of the lease's samples is without a second holder, or the worker is the first one.
  public mutating func hedge(
    _ id: UInt64, to worker: WorkerID, atMost limit: Int, now: Duration
  ) -> LeaseRecord? {
    guard limit > 0, let current = currentVersion, let lease = leases[id], lease.worker != worker, !lease.isHedge,
      lease.losses == 0, let group = groups[lease.groupOrdinal], canDo(group, worker)
    else { return nil }
    let taken = Array(lease.sampleIndices.filter { group.states[$0] == .leased([id]) }.prefix(limit))
    let versions = staleness.leaseVersions(current: current, due: group.dueVersion)
    guard !taken.isEmpty, versions.lowerBound <= current else { return nil }
    let second = makeLease(
      taken, of: lease.groupOrdinal, to: worker, versions: versions, losses: 0, isHedge: true, now: now)
    for index in taken {
      set(SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index), .leased([id, second.id]))
    }
    counters.hedged += taken.count
    counters.granted += taken.count
    return second
  }

  /// A worker whose session was lost is back and still works on a lease: it goes on with the samples that nobody has finished,
  /// even where another worker has begun them meanwhile.
  ///
  /// - Returns: the samples that it holds now and those of the lease that are not wanted any longer, ascending; `nil` when
  ///   the lease is none of a lost session.
  public mutating func reclaim(
    _ id: UInt64, by worker: WorkerID, now: Duration
  ) -> (kept: [Int], dropped: [Int])? {
    guard leases[id] == nil, var lease = lostLeases.removeValue(forKey: id), let group = groups[lease.groupOrdinal]
    else { return nil }
    let before = lease.sampleIndices
    lease.sampleIndices.removeAll { index in
      switch group.states[index] {
      case .queued: false
      case .leased(let holders): holders.count > 1
      case .accepted, .setAside: true
      }
    }
    let dropped = before.filter { !lease.sampleIndices.contains($0) }
    guard !lease.sampleIndices.isEmpty else { return ([], dropped) }
    lease.worker = worker
    lease.ends = max(lease.ends, now + leaseDuration)
    lease.expires = now + leaseDuration
    register(lease)
    for index in lease.sampleIndices {
      let key = SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: index)
      if case .leased(let holders) = group.states[index] {
        set(key, .leased(holders + [id]))
      } else {
        set(key, .leased([id]))
      }
      // The worker was not killed after all.
      groups[lease.groupOrdinal]!.losses[index] = max(0, group.losses[index] - 1)
    }
    counters.reclaimed += lease.sampleIndices.count
    return (lease.sampleIndices, dropped)
  }

  // MARK: What some workers cannot do

  /// A session cannot do what a group asks for: it is lent nothing of that kind any longer.
  public mutating func decline(groupOrdinal: Int, by worker: WorkerID) {
    guard let kind = groups[groupOrdinal]?.kind else { return }
    declined.add(kind, by: worker)
  }

  /// Whether a session may be lent samples of a group.
  func canDo(_ group: Group, _ worker: WorkerID) -> Bool { !declined.contains(group.kind, by: worker) }

  /// Whether a cohort has unfinished samples that a session could be lent.
  func hasWork(for worker: WorkerID, dueVersion: Int) -> Bool {
    guard declined[worker] != nil else { return true }
    return queue.ordinals.contains { ordinal in
      guard let group = groups[ordinal], group.dueVersion == dueVersion else { return false }
      return canDo(group, worker)
    }
  }

  /// Groups with queued samples of which every one of these sessions has said that it cannot do them.
  public func refusedGroups(by workers: [WorkerID]) -> [Int] {
    guard !workers.isEmpty, workers.allSatisfy({ declined[$0] != nil }) else { return [] }
    return queue.ordinals.filter { ordinal in
      guard let group = groups[ordinal] else { return false }
      return workers.allSatisfy { !canDo(group, $0) }
    }
  }
}
