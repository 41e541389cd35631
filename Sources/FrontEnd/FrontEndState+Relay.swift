import Coordination
import Sessions
import Thinking
import Trajectories
import Wire

// What a front end does differently when its work comes from another one: in a relay.
extension FrontEndState {
  /// What a lease's samples are called on the wire.
  func named(_ sampleIndices: [Int], of leaseID: UInt64) -> [Int] {
    guard let relayed, let lease = table.lease(leaseID) else { return sampleIndices }
    return relayed.sampleIndices(sampleIndices, of: lease.groupOrdinal)
  }

  /// Queues a lease from above for the workers below.
  /// - Throws: `RoleError` when the model cannot sample it.
  mutating func lend(_ lease: Lease, model: ModelDescription) throws {
    if let complaint = lease.complaint { throw RoleError(complaint) }
    let policy = try ThinkingPolicy(lease.policy)
    guard let ordinal = relayed?.add(lease) else { return }
    var group = PromptGroup(
      ordinal: ordinal, promptID: lease.promptID, prompt: lease.prompt, sampleCount: lease.sampleIndices.count,
      policy: policy, plan: lease.plan, noiseSeed: lease.noiseSeed)
    group.continuesAcrossVersions = lease.continuesAcrossVersions
    do { try submit(group, model: model) } catch {
      relayed?.remove(ordinal)
      throw error
    }
  }

  /// The lease was taken back from above, or these samples of it.
  mutating func withdraw(_ leaseID: UInt64, samples: [Int]? = nil) {
    guard let relayed, let ordinal = relayed.ordinal(of: leaseID), let lease = relayed.leases[ordinal] else { return }
    for position in relayed.positions(samples ?? lease.sampleIndices, of: ordinal) {
      table.withdraw(SampleKey(groupOrdinal: ordinal, sampleIndex: position))
    }
    cancelSuperseded(reason: "taken back")
    forgetIfComplete(ordinal)
  }

  private mutating func forgetIfComplete(_ ordinal: Int) {
    guard table.isComplete(groupOrdinal: ordinal) else { return }
    groups.forget(ordinal)
    table.retire(groupOrdinal: ordinal)
    ledger.forget(groupOrdinal: ordinal)
    relayed?.remove(ordinal)
  }

  /// Judges a result and passes it on when it is the first. Whether it is fresh enough is the learner's to say.
  /// - Throws: `WireError` when it contradicts the work it claims to be.
  mutating func acceptRelayed(
    _ result: TrajectoryResult, from worker: WorkerID, model: ModelDescription, now: Duration
  ) throws -> ResultVerdict {
    guard let key = relayed?.key(groupOrdinal: result.groupOrdinal, sampleIndex: result.sampleIndex),
      let group = groups[key.groupOrdinal], let above = relayed?.leases[key.groupOrdinal]
    else {
      counters.forgottenResults += 1
      return .unknown
    }
    guard let sender = registry[worker], ledger.wasGranted(key, to: sender.party) else {
      counters.ungrantedResults += 1
      return .unknown
    }
    try group.check(result, model: model)
    guard result.origin == nil || sender.isRelay else {
      throw WireError("TrajectoryResult has an origin, but its sender is no relay")
    }
    let lease = ownLease(result.leaseID, of: worker, for: key)
    let held = table.leasedCount(of: worker)
    let newest = result.versionSpans.last?.version ?? result.policyVersion
    // No version of this run; or one that the learner would refuse for certain.
    let isOutside = newest > table.currentVersion ?? -1 || !above.policyVersions.contains(result.policyVersion)
    let verdict = table.complete(key, leaseID: lease?.id ?? 0, policyVersion: isOutside ? -1 : newest)
    if let lease {
      registry.finished(
        worker, after: registry.workingTime(of: worker, since: lease.granted, now: now),
        tokens: verdict == .accepted ? result.segments.reduce(0) { $0 + $1.count } : 0, held: held, now: now)
    }
    cancelSuperseded(reason: "another worker was first")
    guard verdict == .accepted else { return verdict }
    var result = result
    result.leaseID = above.id
    if result.origin == nil {
      result.origin = SampleOrigin(workerName: sender.name, fingerprint: sender.fingerprint)
    }
    relayed?.finish(result)
    forgetIfComplete(key.groupOrdinal)
    return verdict
  }

  /// A worker (a relay) does not finish samples that it was lent.
  mutating func takeBack(_ work: ReturnedWork, from worker: WorkerID) {
    guard let lease = table.lease(work.leaseID) else { return }
    let samples = relayed?.positions(work.sampleIndices, of: lease.groupOrdinal) ?? work.sampleIndices
    if lease.worker == worker, !work.reason.isEmpty {
      table.decline(groupOrdinal: lease.groupOrdinal, by: worker)
      relayed?.lastRefusal = work.reason
    }
    table.giveBack(work.leaseID, samples: samples, by: worker, isLoss: work.isLoss)
  }

  /// Samples that workers below were lost with: whether to go on with them is the learner's to say.
  mutating func takeLost() -> [ReturnedWork] {
    guard relayed != nil else { return [] }
    return table.takeSetAside().compactMap { key in
      guard let lease = relayed?.leases[key.groupOrdinal] else { return nil }
      let samples = relayed?.sampleIndices([key.sampleIndex], of: key.groupOrdinal) ?? []
      forgetIfComplete(key.groupOrdinal)
      return samples.isEmpty ? nil : ReturnedWork(leaseID: lease.id, sampleIndices: samples, isLoss: true)
    }
  }

  /// Samples that nobody below can do, all of whom have said so: they go back up with the last one's reason.
  mutating func takeRefused() -> [ReturnedWork] {
    guard let reason = relayed?.lastRefusal else { return [] }
    return table.refusedGroups(by: registry.all.filter { !$0.isDraining }.map(\.id)).compactMap { ordinal in
      guard let lease = relayed?.leases[ordinal] else { return nil }
      let positions = table.queuedSamples(of: ordinal)
      let samples = relayed?.sampleIndices(positions, of: ordinal) ?? []
      for position in positions { table.withdraw(SampleKey(groupOrdinal: ordinal, sampleIndex: position)) }
      forgetIfComplete(ordinal)
      return samples.isEmpty ? nil : ReturnedWork(leaseID: lease.id, sampleIndices: samples, reason: reason)
    }
  }

  /// Up to `limit` samples that nobody works on, those that came last first, to be given back: forgotten here.
  mutating func takeQueued(atMost limit: Int) -> [ReturnedWork] {
    var work: [ReturnedWork] = []
    var left = limit
    for ordinal in (relayed?.leases.keys.sorted(by: >) ?? []) where left > 0 {
      let positions = Array(table.queuedSamples(of: ordinal).suffix(left))
      guard !positions.isEmpty, let lease = relayed?.leases[ordinal] else { continue }
      left -= positions.count
      for position in positions { table.withdraw(SampleKey(groupOrdinal: ordinal, sampleIndex: position)) }
      work.append(
        ReturnedWork(leaseID: lease.id, sampleIndices: relayed?.sampleIndices(positions, of: ordinal) ?? []))
      forgetIfComplete(ordinal)
    }
    return work
  }

  var relayLoad: RelayLoad {
    var load = RelayLoad(held: table.queuedSampleCount + table.leasedSampleCount, queued: table.queuedSampleCount)
    for worker in registry.all {
      load.capacity += table.leasedCount(of: worker.id) + (worker.isDraining ? 0 : worker.credits)
      load.tokensPerSecond += worker.tokensPerSecond
      load.activeSlots += worker.activeSlots
    }
    load.activeSlots = min(load.activeSlots, 1 << 30)
    return load
  }
}
