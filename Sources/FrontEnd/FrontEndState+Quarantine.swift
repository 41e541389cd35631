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
    guard caught.add(party, reason: reason) else { return 0 }
    ledger.revoke(party)
    // Its sessions end in a moment; what is queued again here must not be granted to them.
    for worker in registry.all where worker.party == party { registry.drain(worker.id) }
    let lost = groups.removeSamples { sample, _ in
      sample.party == party.description || sample.sender == party.description
    }
    reopen(lost)
    return lost.count
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
  func caughtWorkers(below worker: WorkerID) -> [String] {
    guard let relay = registry[worker], relay.isRelay else { return [] }
    return Array(caught.names(behind: relay.party).prefix(WireLimits.excludedWorkerCount))
  }

  /// Takes a group back that was handed out, with those of its samples that stay: the others are sampled again.
  /// - Throws: `CoordinationError` when the group was never retired.
  mutating func restore(_ group: PromptGroup, keeping kept: [CollectedTrajectory]) throws {
    let indices = Set(kept.map(\.trajectory.sampleIndex))
    try table.restore(
      groupOrdinal: group.ordinal, sampleCount: group.sampleCount, accepted: indices, dueVersion: group.dueVersion,
      kind: kinds.number(of: group))
    groups.add(group, keeping: kept)
  }

  /// Whether a result comes from a caught worker behind a relay that is not: the sample is granted again.
  mutating func refusesOrigin(
    of result: TrajectoryResult, lease: LeaseRecord?, key: SampleKey, from sender: WorkerRegistry.Worker
  ) -> Bool {
    guard let origin = result.origin, caught[sender.party.behind(name: origin.workerName)] != nil else { return false }
    if let lease { table.giveBack(lease.id, samples: [key.sampleIndex], by: sender.id, isLoss: false) }
    counters.ungrantedResults += 1
    return true
  }
}
