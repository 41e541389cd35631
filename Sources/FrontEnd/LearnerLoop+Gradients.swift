import Coordination
import Machine
import Transport
import Wire

// Gradient leases, as far as the I/O thread is concerned.
extension LearnerLoop {
  func handleGradient(_ message: Message, from worker: WorkerID) throws {
    let now = MonotonicClock.now()
    switch message {
    case .pullGradientWork(let pull):
      try shared.gradients.state.withLock { try $0.serve(pull, to: worker) }
    case .gradientReady(let ready):
      try shared.gradients.state.withLock { try $0.ready(ready, from: worker, now: now) }
    case .gradientDeclined(let leaseID, let reason, let isNotFinite):
      log(.warning, of: worker, "worker \(name(of: worker)) gives gradient lease \(leaseID) back: \(reason)")
      shared.gradients.state.withLock {
        $0.declined(leaseID, reason: reason, isNotFinite: isNotFinite, by: worker)
      }
      shared.gradients.signal.put(())
    case .gradientChunk(let chunk):
      if try shared.gradients.state.withLock({ try $0.receive(chunk, from: worker, now: now) }) {
        shared.gradients.signal.put(())
      }
    default: break
    }
  }

  func renewGradients(_ ids: [UInt64], by worker: WorkerID, _ now: Duration) {
    for id in shared.gradients.state.withLock({ $0.renew(ids, by: worker, now: now) }) {
      send(.gradientDone(leaseID: id, accepted: false), to: worker)
    }
  }

  /// Who computes a gradient draws no samples meanwhile, and is not stuck for that.
  func noteComputing(_ now: Duration) {
    let computing = shared.gradients.state.withLock { exchange in
      exchange.keepTime(now: now)
      return exchange.computing
    }
    shared.state.withLock { $0.registry.note(computing: computing, now: now) }
  }

  /// Grants what is worthwhile and sends what the exchange has to say.
  func sendGradientMessages(_ now: Duration) {
    guard shared.gradients.state.withLock({ $0.hasWork }) else { return }
    let (workers, sampling) = shared.state.withLock { state in
      (state.gradientHolders, state.samplingSeconds(dueVersion: (state.table.currentVersion ?? 0) + 1))
    }
    let outgoing = shared.gradients.state.withLock { exchange in
      exchange.takeMessages(now: now, samplingSeconds: sampling) { workers[$0] == $1 }
    }
    for (worker, message) in outgoing {
      switch message {
      case .gradientGrant(let grant):
        logger.debug(
          "gradient lease \(grant.id) of version \(grant.policyVersion), \(grant.passSizes.count) leaves, to \(name(of: worker))"
        )
      case .gradientVersion(let announcement):
        logger.debug("gradient version \(announcement.version) is offered to \(name(of: worker))")
      case .gradientDone(let id, true): logger.debug("gradient lease \(id) came from \(name(of: worker))")
      default: break
      }
      send(message, to: worker)
    }
  }
}
