import Coordination
import Machine
import Sessions
import Thinking
import Trajectories
import WeightExchange
import WeightSync
import Wire

/// Everything the trainer's thread and the I/O thread share. Pure: no sockets, no clock.
struct FrontEndState: Sendable {
  var table: LeaseTable
  var registry: WorkerRegistry
  /// Who was caught: nothing of theirs counts any longer.
  var caught = CaughtParties()
  /// Who may answer which sample.
  var ledger = GrantLedger()
  var names = NameBindings()
  var kinds = WorkKinds()
  var versions = VersionStore()
  /// Submitted and not yet handed to the trainer.
  var groups = SubmittedGroups()
  /// Of a relay: what it was lent itself.
  var relayed: RelayedWork?
  /// Messages for the I/O thread to send.
  var outgoing: [(worker: WorkerID, message: Message)] = []
  var announcement: VersionAnnouncement?
  /// Of accepted samples, smoothed.
  var tokensPerSample: Double?
  var ending = FrontEndEnding()
  var counters = FrontEndCounters()

  /// - Throws: `RoleError` when the group cannot be sampled by this model, `CoordinationError` when its ordinal is taken.
  mutating func submit(_ group: PromptGroup, model: ModelDescription) throws {
    try group.check(model: model)
    try table.enqueue(
      groupOrdinal: group.ordinal, sampleCount: group.sampleCount, dueVersion: group.dueVersion,
      kind: kinds.number(of: group))
    groups.add(group)
  }

  mutating func publish(
    _ snapshot: WeightSnapshot, base: WeightSnapshot?, deltas: [WeightDelta], now: Duration
  ) throws {
    try versions.publish(snapshot, base: base, deltas: deltas, now: now)
    announcement = versions.announcement
    for lease in table.advance(to: snapshot.version) {
      outgoing.append(
        (lease.worker, .cancel(leaseIDs: [lease.id], reason: "stale: version \(snapshot.version) is out")))
    }
    let stale = groups.removeSamples { [staleness = table.staleness] sample, group in
      sample.trajectory.policyVersion < staleness.oldest(current: snapshot.version, due: group.dueVersion ?? .max)
    }
    counters.staleAfterArrival += stale.count
    reopen(stale)
  }

  /// Samples that were accepted are sampled again; their groups are not complete any longer.
  mutating func reopen(_ keys: [SampleKey]) {
    for key in keys { table.reopen(key) }
    groups.reopenGroups { [table] in table.isComplete(groupOrdinal: $0) }
  }

  /// Announces a version whose deltas are here before itself: a relay's, whose leases are voided from above.
  mutating func publish(deltas: [WeightDelta], to target: VersionDescription) throws {
    try versions.publish(deltas: deltas, to: target)
    announcement = versions.announcement
    // Workers below may be faster, and their samples are of this run.
    _ = table.advance(to: target.version)
  }

  /// Serves the KL term's frozen model and names it from now on.
  mutating func publish(reference: WeightSnapshot) throws {
    try versions.publish(reference: reference)
    for worker in registry.all {
      outgoing.append((worker.id, .heartbeat(Heartbeat(currentVersion: versions.announcement))))
    }
  }

  /// Judges a result and keeps it when it is the first.
  /// - Throws: `WireError` when it contradicts the work it claims to be.
  mutating func accept(
    _ result: TrajectoryResult, from worker: WorkerID, model: ModelDescription, now: Duration
  ) throws -> ResultVerdict {
    if relayed != nil { return try acceptRelayed(result, from: worker, model: model, now: now) }
    let key = SampleKey(groupOrdinal: result.groupOrdinal, sampleIndex: result.sampleIndex)
    // Between a verdict and the end of the session something may still come.
    guard let sender = registry[worker], caught[sender.party] == nil else { return .unknown }
    if let group = groups[result.groupOrdinal] {
      guard ledger.wasGranted(key, to: sender.party) else {
        counters.ungrantedResults += 1
        return .unknown
      }
      try group.check(result, model: model)
    }
    guard result.origin == nil || sender.isRelay else {
      throw WireError("TrajectoryResult has an origin, but its sender is no relay")
    }
    let lease = ownLease(result.leaseID, of: worker, for: key)
    if refusesOrigin(of: result, lease: lease, key: key, from: sender) { return .unknown }
    let held = table.leasedCount(of: worker)
    // The oldest version decides, unless the newest is none of this run's.
    let newest = result.versionSpans.last?.version ?? result.policyVersion
    let verdict = table.complete(
      key, leaseID: lease?.id ?? 0, policyVersion: newest > table.currentVersion ?? -1 ? newest : result.policyVersion)
    if let lease {
      registry.finished(
        worker, after: registry.workingTime(of: worker, since: lease.granted, now: now),
        tokens: verdict == .accepted ? result.segments.reduce(0) { $0 + $1.count } : 0, held: held, now: now)
    }
    cancelSuperseded(reason: "another worker was first")
    guard verdict == .accepted, let group = groups[result.groupOrdinal] else { return verdict }
    let trajectory = Trajectory(
      promptID: group.promptID, groupID: group.ordinal, sampleIndex: result.sampleIndex, policy: group.policy,
      policyVersion: result.policyVersion, prompt: group.prompt, segments: result.segments,
      finishReason: result.finishReason, versionSpans: result.versionSpans)
    let tokens = Double(result.segments.reduce(0) { $0 + $1.count })
    tokensPerSample = tokensPerSample.map { $0 + (tokens - $0) / 64 } ?? tokens
    let source = source(of: result, from: sender)
    let sample = CollectedTrajectory(
      trajectory: trajectory, workerName: source.name, fingerprint: result.origin?.fingerprint ?? sender.fingerprint,
      elapsedMicroseconds: result.elapsedMicroseconds, party: source.party.description,
      sender: sender.party.description)
    groups.accept(sample, of: group.ordinal)
    noteCompletion(group.ordinal, now: now)
    return verdict
  }

  /// The lease that a result names, when it is its sender's own and of that group.
  func ownLease(_ id: UInt64, of worker: WorkerID, for key: SampleKey) -> LeaseRecord? {
    guard let lease = table.lease(id), lease.worker == worker, lease.groupOrdinal == key.groupOrdinal else {
      return nil
    }
    return lease
  }

  /// Who drew a result, and the name to show: a relay answers for who works behind it.
  private mutating func source(
    of result: TrajectoryResult, from sender: WorkerRegistry.Worker
  ) -> (party: Party, name: String) {
    guard let origin = result.origin else { return (sender.party, sender.name) }
    let party = sender.party.behind(name: origin.workerName)
    return (
      party,
      names.name(for: party, asking: origin.workerName, own: "relay \(sender.name)")
    )
  }

  /// Tells holders of samples that somebody else finished, or that nobody needs.
  mutating func cancelSuperseded(reason: String) {
    let superseded = table.takeSuperseded()
    let ended = Set(superseded.filter(\.endsLease).map(\.leaseID))
    for sample in superseded where sample.endsLease || !ended.contains(sample.leaseID) {
      let samples = sample.endsLease ? [] : named([sample.sampleIndex], of: sample.leaseID)
      outgoing.append((sample.worker, .cancel(leaseIDs: [sample.leaseID], sampleIndices: samples, reason: reason)))
    }
  }

  private mutating func noteCompletion(_ ordinal: Int, now: Duration) {
    if table.isComplete(groupOrdinal: ordinal) { groups.complete(ordinal, now: now) }
  }

  /// A worker is back and still works on leases that its lost session held, or on some that were taken back.
  /// - Returns: the leases that are not its any longer. Samples of the others that it should drop are in `outgoing`.
  mutating func reclaim(_ leaseIDs: [UInt64], by worker: WorkerID, now: Duration) -> [UInt64] {
    leaseIDs.filter { id in
      if let lease = table.lease(id) { return lease.worker != worker }
      guard let lost = table.lostLease(id), let party = registry[worker]?.party,
        lost.sampleIndices.allSatisfy({
          ledger.wasGranted(SampleKey(groupOrdinal: lost.groupOrdinal, sampleIndex: $0), to: party)
        }), let (kept, dropped) = table.reclaim(id, by: worker, now: now), !kept.isEmpty
      else { return true }
      if !dropped.isEmpty {
        outgoing.append(
          (worker, .cancel(leaseIDs: [id], sampleIndices: named(dropped, of: id), reason: "another worker was first")))
      }
      return false
    }
  }

  /// Seconds for which all workers still sample until the step that is due at `version` is complete: what is lent counts half.
  /// 0 when that is not known.
  func samplingSeconds(dueVersion version: Int) -> Double {
    let (unfinished, speed) = (table.unfinished(dueVersion: version), registry.totalSpeed)
    guard let tokensPerSample, speed > 0 else { return 0 }
    return (Double(unfinished.queued) + 0.5 * Double(unfinished.leased)) * tokensPerSample / speed
  }

  /// The policy versions that those hold who may be asked for gradients: with a KL term they need its reference model, too.
  var gradientHolders: [WorkerID: Int] {
    if ending.announced != nil { return [:] }
    // A reference is served only where every gradient needs it.
    let root = versions.reference?.description.root.bytes
    let able = registry.all.filter { !$0.isDraining && (root == nil || $0.heldReference == root) }
    return Dictionary(uniqueKeysWithValues: able.map { ($0.id, $0.heldVersion) })
  }

  /// Samples that were given up since the last call; their groups may be complete without them.
  mutating func takeSetAside(now: Duration) -> [SampleKey] {
    let keys = table.takeSetAside()
    for key in keys { noteCompletion(key.groupOrdinal, now: now) }
    return keys
  }

  /// Hands out the completed group with the smallest ordinal, when that is below `bound`: whatever arrives for it later is a
  /// duplicate.
  mutating func takeCompleted(below bound: Int = .max) -> CompletedGroup? {
    guard let group = groups.takeCompleted(below: bound) else { return nil }
    table.retire(groupOrdinal: group.ordinal)
    ledger.forget(groupOrdinal: group.ordinal)
    return group
  }

  /// Grants what credits and the workers' speeds allow (`LeasePlanner`).
  mutating func grantWork(now: Duration, leaseDuration: Duration) {
    guard ending.announced == nil else { return }
    var grants: [WorkerID: (leases: [Lease], byteCount: Int)] = [:]
    for record in LeasePlanner.plan(&table, &registry, now: now) {
      let worker = record.worker
      guard let group = groups[record.groupOrdinal] else {
        // Cannot happen: a group is queued exactly as long as it is known.
        table.retire(groupOrdinal: record.groupOrdinal)
        ledger.forget(groupOrdinal: record.groupOrdinal)
        continue
      }
      if let party = registry[worker]?.party {
        ledger.granted(record.sampleIndices, ofGroup: record.groupOrdinal, to: party)
      }
      groups.noteGrant(of: group.ordinal, now: now)
      var lease = Lease(
        id: record.id, groupOrdinal: group.ordinal, promptID: group.promptID, prompt: group.prompt,
        sampleIndices: record.sampleIndices, policy: group.policy.description, plan: group.plan,
        noiseSeed: group.noiseSeed,
        policyVersions: record.policyVersions, deadlineMilliseconds: leaseDuration.milliseconds,
        continuesAcrossVersions: group.continuesAcrossVersions)
      relayed?.rename(&lease)
      // Many leases a message, so that a burst does not fill the worker's queue, but well below an envelope's limit.
      let byteCount = lease.largestByteCount
      if let waiting = grants[worker], waiting.byteCount + byteCount > 1 << 19 || waiting.leases.count == 64 {
        outgoing.append((worker, .grant(waiting.leases)))
        grants[worker] = nil
      }
      grants[worker, default: ([], 0)].leases.append(lease)
      grants[worker]!.byteCount += byteCount
    }
    for (worker, grant) in grants.sorted(by: { $0.key < $1.key }) { outgoing.append((worker, .grant(grant.leases))) }
  }

  var statistics: FleetStatistics {
    var statistics = FleetStatistics()
    statistics.workers = registry.all.map {
      FleetStatistics.Worker(
        name: $0.name, fingerprint: $0.fingerprint, credits: $0.credits,
        leasedSamples: table.leasedCount(of: $0.id), heldVersion: $0.heldVersion, tokensPerSecond: $0.tokensPerSecond,
        speed: $0.speed ?? 0, activeSlots: $0.activeSlots, isDraining: $0.isDraining,
        narrowLinkBytesPerSecond: $0.narrowLinkBytesPerSecond)
    }
    statistics.queuedSamples = table.queuedSampleCount
    statistics.leasedSamples = table.leasedSampleCount
    statistics.leases = table.counters
    statistics.counters = counters
    statistics.currentVersion = versions.current?.version
    return statistics
  }
}
