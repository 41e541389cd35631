import Machine
import Transport
import WeightSync
import Wire

// What goes between the learner and the accounts of weights, gradients and samples.
extension WorkerLoop {
  func handleAnnouncement(_ frames: [[UInt8]]) throws {
    guard session != nil else { return }
    do {
      let envelope = try Envelope(decoding: Array(frames.dropFirst()), limits: Self.limits)
      guard case .versionAnnouncement(let announcement) = envelope.message else {
        throw WireError("\(envelope.message.name) does not belong on PUB")
      }
      try announced(announcement, isAuthoritative: false)
    } catch let error as WireError {
      logger.warning("ignored a malformed announcement: \(error)")
    } catch let error as WeightSyncError {
      logger.warning("ignored an announcement: \(error)")
    }
  }

  func announced(_ announcement: VersionAnnouncement, isAuthoritative: Bool) throws {
    if announcement.reference != nil, !weights.hasBegunReference, options.computesGradients { measureMemory() }
    try pulling(
      weights.announced(
        announcement, isAuthoritative: isAuthoritative, limit: options.weightByteLimit, now: MonotonicClock.now()))
  }

  /// After every step of the pull: sends what it asks for, hands on what is complete.
  func pulling(_ requests: [Message]) throws {
    if let job = weights.takeJob() {
      // Those below apply them at the same time.
      if options.isRelay, !job.target.isIntermediate { shared.events.put(.deltas(job.deltas, target: job.target)) }
      try applier.start(job)
    }
    try deliverReference()
    try deliverWeights()
    deliverIntermediate()
    try send(requests)
    try notePace()
  }

  func takeApplied() throws {
    for outcome in applier.takeOutcomes() {
      try pulling(
        weights.applied(outcome.number, outcome.result, now: MonotonicClock.now(), logger: logger))
    }
  }

  func deliverWeights() throws {
    guard let snapshot = weights.usable, snapshot.description.identity != told.version else { return }
    told.version = snapshot.description.identity
    let deltas = weights.deltasInHand
    let origin =
      deltas.isEmpty
      ? "\(snapshot.byteCount) bytes" : "\(deltas.reduce(0) { $0 + $1.bytes.count }) bytes of \(deltas.count) deltas"
    logger.debug("holding version \(snapshot.version) (\(snapshot.description.identity), \(origin))")
    if snapshot.description.adapter != nil, let base = weights.base, base.description.identity != told.base {
      told.base = base.description.identity
      shared.events.put(.base(base))
    }
    shared.state.withLock { $0.deltas = deltas }
    shared.events.put(.weights(snapshot))
    try deliverLeases()
    // The learner lends gradients of a version to those that hold it.
    try sendHeartbeat()
  }

  /// Before the version that may be in hand at the same time: a gradient needs both.
  private func deliverReference() throws {
    guard let reference = weights.reference, reference.description.root != told.reference else { return }
    told.reference = reference.description.root
    logger.info(
      "holding the reference model of the KL term (\(reference.description.root), \(reference.byteCount) bytes)")
    shared.events.put(.reference(reference))
    // The learner lends gradients with a KL term to those that hold it.
    if session != nil { try sendHeartbeat() }
  }

  /// Weights for gradients alone, which the learner asks for.
  func follow(_ announcement: VersionAnnouncement) throws {
    // As they come, and packed for both passes. A relay only passes them on.
    let needed =
      options.isRelay ? announcement.byteCount : (announcement.adapter?.baseByteCount ?? announcement.byteCount) * 4
    if weights.intermediate == nil, let available = availableMemory, available < needed {
      return logger.notice(
        "gradients of later mini-batches are left to others: the weights between two optimiser steps take \(needed >> 20) MiB, and \(available >> 20) MiB of memory are free"
      )
    }
    try pulling(weights.follow(announcement, now: MonotonicClock.now()))
  }

  private func deliverIntermediate() {
    guard let version = weights.intermediate, version.snapshot.description.identity != told.intermediate else {
      return
    }
    told.intermediate = version.snapshot.description.identity
    logger.debug("holding gradient version \(version.snapshot.version) (\(version.snapshot.description.identity))")
    shared.events.put(.gradientWeights(version))
  }

  /// The reference is kept as it came and as it is computed with; what a gradient takes beside it is seen when it is lent.
  private func measureMemory() {
    weights.wish.limit = availableMemory.map { $0 / 5 * 2 } ?? .max
    guard let wanted = weights.wish.named, wanted.byteCount > weights.wish.limit,
      wanted.root != told.refusedReference
    else { return }
    told.refusedReference = wanted.root
    logger.notice(
      "no gradients are computed here: they need the KL term's reference model of \(wanted.byteCount >> 20) MiB twice, and \(weights.wish.limit >> 19 / 4 * 5) MiB of memory are free"
    )
  }
}

// Gradient leases.
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

// A link that is too narrow for the versions.
extension WorkerLoop {
  /// Says once that versions come faster than this link can follow, and once that it follows them again. In between no work is
  /// taken: it would wait for weights, and its samples for somebody else.
  func notePace() throws {
    guard let figures = weights.pace.narrowness else {
      guard told.isNarrow else { return }
      told.isNarrow = false
      logger.notice("this link keeps up with the versions again")
      try sendHeartbeat()
      return try spendCredits()
    }
    guard !told.isNarrow else { return }
    told.isNarrow = true
    logger.warning(
      "versions come faster than this link carries them: \(figures); samples may be \(weights.pace.maxStaleness) versions old (max_staleness). No work is taken here; the link is tried again after \(figures.wait.rounded) s, then more and more rarely, and at once when steps have become slow enough. A relay nearby, a wider link, a smaller learning rate (deltas), LoRA or a greater max_staleness would help"
    )
    try giveBackWaiting()
    try sendHeartbeat()
  }

  /// Work that is not begun, while the link is too narrow for the versions that it needs.
  func giveBackWaiting() throws {
    guard weights.pace.narrowness != nil else { return }
    work.giveBackWaiting()
    try giveBack()
  }
}

// Samples that a relay gives back, or a worker whose build does not know their plan.
extension WorkerLoop {
  /// Says what was given back; without a session, in the next one with the same learner.
  func giveBack() throws {
    for given in shared.returns.takeAll() { work.giveBack(given) }
    guard session != nil else { return }
    for given in work.takeReturned() { try send([.returnWork(given)]) }
  }
}
