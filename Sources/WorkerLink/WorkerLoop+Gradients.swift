import Wire

// Gradient leases, as far as the I/O thread is concerned.
extension WorkerLoop {
  func handleGradient(_ message: Message) throws {
    switch message {
    case .gradientGrant(let grant):
      guard options.computesGradients, !isDraining, !wayBack.isReturning else {
        return try send([.gradientDeclined(leaseID: grant.id, reason: "no gradients here", isNotFinite: false)])
      }
      try send(gradients.add(grant))
    case .gradientTrajectory(let trajectory):
      try send(gradients.receive(trajectory))
      if let version = weights.inHand?.version { try deliverGradients(version) }
    case .gradientVersion(let announcement):
      try follow(announcement)
    case .pullGradient(let pull):
      try send(gradients.chunks(pull))
    case .gradientDone(let id, let accepted):
      if gradients.computed[id] != nil { settle(1) }
      if !accepted { logger.debug("gradient lease \(id) is not wanted any longer") }
      if gradients.forget(id) { shared.events.put(.cancelled(leaseIDs: [id])) }
    default: break
    }
  }

  func deliverGradients(_ version: Int) throws {
    let (tasks, outdated) = gradients.deliverable(
      with: version, intermediate: weights.intermediate?.snapshot.version)
    for task in tasks { shared.events.put(.gradient(task)) }
    for id in outdated {
      // The learner goes on without a word of ours, too: it has published a newer version.
      try send([.gradientDeclined(leaseID: id, reason: "its version is gone", isNotFinite: false)])
    }
  }

  func obeyEngineOnGradients() throws {
    for outcome in shared.gradients.takeAll() {
      switch outcome {
      case .computed(let gradient):
        guard gradients.finish(gradient) else {
          settle(1)
          continue
        }
        try send([.gradientReady(gradient.ready)])
      case .declined(let id, let reason, let isNotFinite):
        settle(1)
        gradients.forget(id)
        try send([.gradientDeclined(leaseID: id, reason: reason, isNotFinite: isNotFinite)])
      }
    }
  }
}
