import Machine
import Transport
import WeightSync
import Wire

// Versions and the reference model, as far as the I/O thread is concerned.
extension WorkerLoop {
  func handleAnnouncement(_ frames: [[UInt8]]) throws {
    guard session != nil else { return }
    do {
      let envelope = try Envelope(decoding: Array(frames.dropFirst()), limits: limits)
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
    guard let snapshot = weights.usable, snapshot.description.identity != deliveredVersion else { return }
    deliveredVersion = snapshot.description.identity
    let deltas = weights.deltasInHand
    let origin =
      deltas.isEmpty
      ? "\(snapshot.byteCount) bytes" : "\(deltas.reduce(0) { $0 + $1.bytes.count }) bytes of \(deltas.count) deltas"
    logger.info("holding version \(snapshot.version) (\(snapshot.description.identity), \(origin))")
    if snapshot.description.adapter != nil, let base = weights.base, base.description.identity != deliveredBase {
      deliveredBase = base.description.identity
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
    guard let reference = weights.reference, reference.description.root != deliveredReference else { return }
    deliveredReference = reference.description.root
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
    guard let version = weights.intermediate, version.snapshot.description.identity != deliveredIntermediate else {
      return
    }
    deliveredIntermediate = version.snapshot.description.identity
    logger.debug("holding gradient version \(version.snapshot.version) (\(version.snapshot.description.identity))")
    shared.events.put(.gradientWeights(version))
  }

  /// The reference is kept as it came and as it is computed with; what a gradient takes beside it is seen when it is lent.
  private func measureMemory() {
    weights.referenceLimit = availableMemory.map { $0 / 5 * 2 } ?? .max
    guard let wanted = weights.wantedReference, wanted.byteCount > weights.referenceLimit,
      wanted.root != refusedReference
    else { return }
    refusedReference = wanted.root
    logger.notice(
      "no gradients are computed here: they need the KL term's reference model of \(wanted.byteCount >> 20) MiB twice, and \(weights.referenceLimit >> 19 / 4 * 5) MiB of memory are free"
    )
  }
}
