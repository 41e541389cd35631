import Coordination
import Logging
import Trajectories
import Transport
import Wire

// Parties that were caught: nothing of theirs counts any longer.
extension FrontEndState {
  /// A party's sessions end, and what it delivered and is not trained on is sampled again by others.
  /// - Returns: samples that are granted again.
  @discardableResult
  mutating func quarantine(_ party: Party, reason: String) -> Int {
    guard banned[party] == nil else { return 0 }
    banned[party] = reason
    convicted.append((party, reason))
    ledger.revoke(party)
    // Its sessions end in a moment; what is queued again here must not be granted to them.
    for worker in registry.all where worker.party == party { registry.drain(worker.id) }
    var count = 0
    for (ordinal, collected) in samples {
      for (index, sample) in collected where sample.party == party.description || sample.sender == party.description {
        samples[ordinal]![index] = nil
        table.reopen(SampleKey(groupOrdinal: ordinal, sampleIndex: index))
        count += 1
      }
    }
    completed.removeAll { !table.isComplete(groupOrdinal: $0) }
    return count
  }

  /// Of a relay: workers with these names are out, at once and when they come; relays below pass it on.
  mutating func quarantine(workers names: Set<String>, reason: String) {
    for worker in registry.all {
      if worker.isRelay {
        for name in names { quarantine(worker.party.behind(name: name), reason: reason) }
      } else if names.contains(worker.name) {
        quarantine(worker.party, reason: reason)
      }
    }
  }

  /// Where a session is a relay's, names of those below it who were caught, ascending: as many as a heartbeat carries.
  func caught(below worker: WorkerID) -> [String] {
    guard let relay = registry[worker], relay.isRelay, !banned.isEmpty else { return [] }
    let start = relay.party.behind(name: "").description
    return Array(
      banned.keys.lazy.map(\.description).filter { $0.hasPrefix(start) }.map { String($0.dropFirst(start.count)) }
        .sorted().prefix(WireLimits.excludedWorkerCount))
  }

  /// Takes a group back that was handed out, with those of its samples that stay: the others are sampled again.
  /// - Throws: `CoordinationError` when the group was never retired.
  mutating func restore(_ group: PromptGroup, keeping kept: [CollectedTrajectory]) throws {
    let indices = Set(kept.map(\.trajectory.sampleIndex))
    try table.restore(
      groupOrdinal: group.ordinal, sampleCount: group.sampleCount, accepted: indices, dueVersion: group.dueVersion,
      kind: kinds.number(of: group))
    groups[group.ordinal] = group
    samples[group.ordinal] = Dictionary(uniqueKeysWithValues: kept.map { ($0.trajectory.sampleIndex, $0) })
  }

  /// Whether a result comes from a caught worker behind a relay that is not: the sample is granted again.
  mutating func refusesOrigin(
    of result: TrajectoryResult, lease: LeaseRecord?, key: SampleKey, from sender: WorkerRegistry.Worker
  ) -> Bool {
    guard let origin = result.origin, banned[sender.party.behind(name: origin.workerName)] != nil else { return false }
    if let lease { table.giveBack(lease.id, samples: [key.sampleIndex], by: sender.id, isLoss: false) }
    ungrantedResults += 1
    return true
  }
}

extension LearnerFrontEnd {
  /// Ends a party's part in the run (docs/security.md).
  package func quarantine(_ party: Party, reason: String) {
    shared.state.withLock { _ = $0.quarantine(party, reason: reason) }
    shared.gradients.state.withLock { $0.exclude(party) }
    shared.waker.wake()
  }

  /// Ends the part of workers of a relay whom the learner caught; again and again does no harm.
  package func quarantine(workers: [String], reason: String) {
    let parties = shared.state.withLock { state in
      let before = Set(state.banned.keys)
      state.quarantine(workers: Set(workers), reason: reason)
      return Set(state.banned.keys).subtracting(before)
    }
    guard !parties.isEmpty else { return }
    shared.gradients.state.withLock { exchange in for party in parties { exchange.exclude(party) } }
    shared.waker.wake()
  }

  /// Has the missing samples of a group that was handed out sampled again.
  /// - Throws: `CoordinationError` when the group was never handed out.
  package func restore(_ group: PromptGroup, keeping kept: [CollectedTrajectory]) throws {
    try shared.state.withLock { try $0.restore(group, keeping: kept) }
    shared.waker.wake()
  }
}
