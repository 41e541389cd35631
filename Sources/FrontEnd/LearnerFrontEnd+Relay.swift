import Coordination
import Wire

// What a relay asks of its front end: to lend on what it was lent, and to say what is below.
extension LearnerFrontEnd {
  /// - Throws: `RoleError` when the model cannot sample it.
  package func lend(_ lease: Lease) throws {
    try shared.state.withLock { try $0.lend(lease, model: options.model) }
    shared.waker.wake()
  }

  package func withdraw(_ leaseID: UInt64, samples: [Int]? = nil) {
    shared.state.withLock { $0.withdraw(leaseID, samples: samples) }
    shared.waker.wake()
  }

  /// Ends the part of workers below whom the learner caught; again and again does no harm.
  package func quarantine(workers: [String], reason: String) {
    let parties = shared.state.withLock { state in
      let before = state.caught.all
      state.quarantine(workers: Set(workers), reason: reason)
      return state.caught.all.subtracting(before)
    }
    guard !parties.isEmpty else { return }
    shared.gradients.state.withLock { exchange in for party in parties { exchange.exclude(party) } }
    shared.waker.wake()
  }

  package func takeQueued(atMost limit: Int) -> [ReturnedWork] {
    shared.state.withLock { $0.takeQueued(atMost: limit) }
  }

  /// All that is held, finished samples of the same leases included.
  package var unfinishedWork: [ReturnedWork] {
    shared.state.withLock { state in
      (state.relayed?.leases.values.map { $0 } ?? []).sorted { $0.id < $1.id }.map {
        ReturnedWork(leaseID: $0.id, sampleIndices: $0.sampleIndices)
      }
    }
  }

  package var relayLoad: RelayLoad { shared.state.withLock { $0.relayLoad } }

  /// Who below computes gradients, and under which intermediate version, when it is one.
  package var gradientsBelow: (classes: [GradientClass], version: Int?) {
    let present = shared.state.withLock { state in
      let reference = state.versions.reference?.description.root.bytes
      return Set(
        state.registry.all.filter {
          !$0.isDraining && $0.heldVersion >= 0 && (reference == nil || $0.heldReference == reference)
        }.map(\.id))
    }
    return shared.gradients.state.withLock { exchange in
      func isPresent(_ worker: WorkerID) -> Bool { present.contains(worker) }
      return (exchange.branch(isPresent: isPresent), exchange.versionBelow(isPresent: isPresent))
    }
  }
}
