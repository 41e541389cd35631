import Coordination
import Logging
import Machine
import Sessions
import Synchronization
import Transport
import WeightExchange
import WeightSync
import Wire

/// The learner's I/O thread: owns the sockets, moves messages between them and the shared state. Confined to its thread.
final class LearnerLoop {
  let options: LearnerFrontEndOptions
  let shared: SharedFrontEnd
  let logger: Logger
  let control: Socket
  let publisher: Socket
  let authentication: AuthenticationHandler?
  /// `nil` without keys.
  let allowed: AllowList?
  let announcementEndpoint: String
  let learnerIncarnation: UInt64
  let limits: WireLimits
  var sessions = SessionTable(after: UInt64.random(in: 1...(1 << 48)))
  var refused = RefusedConnections()
  var faults = FaultLog()
  var budgets: [Party: PeerBudget] = [:]
  /// The list of keys that the sessions were last compared with.
  var listGeneration = 0
  var timers = Timers()
  struct Timers {
    var nextCheck: Duration = .zero
    var nextFlush: Duration = .zero
    var nextGrants: Duration = .zero
    var nextConnectionCheck: Duration = .zero
    /// Grants were put off.
    var owesGrants = false
  }

  init(
    options: LearnerFrontEndOptions, shared: SharedFrontEnd, control: consuming Socket, publisher: consuming Socket,
    authentication: AuthenticationHandler?, announcementEndpoint: String, learnerIncarnation: UInt64, logger: Logger
  ) {
    self.options = options
    self.shared = shared
    self.control = control
    self.publisher = publisher
    self.authentication = authentication
    if case .server(_, let allowed) = options.security { self.allowed = allowed } else { allowed = nil }
    self.announcementEndpoint = announcementEndpoint
    self.learnerIncarnation = learnerIncarnation
    self.logger = logger
    limits = WireLimits(trajectoryByteCount: options.trajectoryByteLimit)
  }

  func run() {
    do {
      while try turn() {}
      shared.state.withLock { $0.ending.finish() }
    } catch {
      logger.critical("the learner's I/O thread ends: \(error)")
      shared.state.withLock { $0.ending.finish(failure: "\(error)") }
    }
    shared.signal.put(())
    shared.signal.close()
  }

  /// One turn of the loop; false when there is nothing left to do.
  private func turn() throws -> Bool {
    // A full queue has no event of its own: what waits is offered again soon.
    let timeout: Duration =
      !sessions.gone.isEmpty
      ? .zero
      : timers.owesGrants
        ? .milliseconds(1)
        : sessions.waiting.isEmpty ? min(options.heartbeatInterval / 2, Self.connectionInterval) : .milliseconds(5)
    if let authentication {
      try poll(control, authentication.socket, waker: shared.waker, timeout: timeout)
      try authentication.serve()
    } else {
      try poll(control, waker: shared.waker, timeout: timeout)
    }
    noteHandshakes()
    flushWaiting()
    // A bounded number, so that timers are looked at however much arrives.
    var isRead = false
    for _ in 0..<256 where !isRead {
      if let frames = try control.receive(maximumByteCount: limits.messageByteCount) {
        handle(frames)
      } else {
        isRead = true
      }
    }
    closeOversized()
    if isRead { for worker in sessions.gone { drop(worker, "connection lost", isLoss: true) } }
    keepTime()
    try sendOutgoing()
    return !shared.state.withLock { $0.ending.announced != nil && $0.registry.count == 0 || $0.ending.isFinished }
  }

  /// Timers. Looking at every worker and lease costs as much as many messages, so it is not done between any two of them.
  private func keepTime() {
    let now = MonotonicClock.now()
    guard now >= timers.nextCheck else { return }
    timers.nextCheck = now + min(.milliseconds(100), options.heartbeatInterval / 10)
    endRevokedSessions()
    endConvictedSessions()
    passOnWhatIsGivenBack(now)
    let (setAside, isComplete) = shared.state.withLock { state in
      let before = state.groups.completedCount
      let setAside = state.takeSetAside(now: now)
      return (setAside, state.groups.completedCount > before)
    }
    for key in setAside {
      logger.error(
        "sample \(key.sampleIndex) of group \(key.groupOrdinal) is set aside: \(options.maximumLosses) workers were lost with it; the group is trained on without it. See those workers' logs; the prompt may be one that they cannot bear"
      )
    }
    if isComplete { shared.signal.put(()) }
    var expired: [LeaseRecord] = []
    let (lost, due, current) = shared.state.withLock { state in
      for lease in state.table.expire(now: now) {
        expired.append(lease)
        state.outgoing.append((lease.worker, .cancel(leaseIDs: [lease.id], reason: "expired")))
      }
      return (
        state.registry.lost(now: now),
        state.registry.dueForHeartbeat(now: now).map { ($0, state.caughtWorkers(below: $0)) },
        state.versions.announcement
      )
    }
    for lease in expired {
      log(
        .warning, of: lease.worker,
        "lease \(lease.id) of group \(lease.groupOrdinal) expired; its samples are queued again")
    }
    for worker in lost { drop(worker, "silent for \(options.livenessTimeout)", isLoss: true) }
    noteComputing(now)
    for (worker, caught) in due {
      send(.heartbeat(Heartbeat(currentVersion: current, caughtWorkers: caught)), to: worker)
    }
  }

  private func sendOutgoing() throws {
    let now = MonotonicClock.now()
    let (outgoing, announcement) = shared.state.withLock { state in
      // A plan looks at every worker: with a thousand of them not after every few messages.
      timers.owesGrants = now < timers.nextGrants
      if !timers.owesGrants {
        state.grantWork(now: now, leaseDuration: options.leaseDuration)
        timers.nextGrants = now + min(.milliseconds(20), .microseconds(4 * state.registry.count))
      }
      defer {
        state.outgoing.removeAll()
        state.announcement = nil
      }
      return (state.outgoing, state.announcement)
    }
    if let announcement {
      try publisher.send([Array("version".utf8)] + Envelope(.versionAnnouncement(announcement)).encoded())
    }
    for (worker, message) in outgoing { send(message, to: worker) }
    sendGradientMessages(now)
  }

  /// Nothing that a message holds leaves this method as an error.
  func handle(_ frames: [[UInt8]]) {
    guard let route = frames.first, !refused.isRefused(route, now: MonotonicClock.now()) else { return }
    do {
      let envelope = try Envelope(decoding: Array(frames.dropFirst()), limits: limits)
      if case .hello(let hello) = envelope.message { return welcome(hello, route) }
      guard let worker = sessions.worker(at: route) else {
        guard mayGoOn(strangerAt: route) else { return }
        reply(.refused(reason: "no such session: say Hello"), session: 0, to: route)
        return
      }
      // Sent before the answer to a second Hello arrived: the new session repeats what matters.
      guard worker.value == envelope.session else {
        _ = mayGoOn(worker, route)
        return
      }
      guard isDue(envelope.message, from: worker) || mayGoOn(worker, route) else { return }
      shared.state.withLock { $0.registry.heard(from: worker, now: MonotonicClock.now()) }
      try handle(envelope.message, from: worker)
    } catch let error as WireError {
      castOut(route, error, key: control.lastSenderKey())
    } catch {
      // Whatever a message leads to is its sender's affair: the thread serves everybody else.
      log(
        .error, of: sessions.worker(at: route).flatMap { sessions[$0]?.party },
        "a message could not be answered: \(error); the session of its sender ends")
      if let worker = sessions.worker(at: route) { drop(worker, "its message could not be answered", isLoss: true) }
    }
  }

  func handle(_ message: Message, from worker: WorkerID) throws {
    switch message {
    case .requestWork(let credits):
      shared.state.withLock { $0.registry.addCredits(credits, to: worker) }
    case .heartbeat(let heartbeat):
      let now = MonotonicClock.now()
      let void = shared.state.withLock { state in
        state.registry.report(
          worker, heldVersion: heartbeat.heldVersion, tokensPerSecond: heartbeat.tokensPerSecond,
          activeSlots: heartbeat.activeSlots)
        state.registry.report(worker, heldReference: heartbeat.heldReference)
        state.table.renew(heartbeat.leaseIDs, by: worker, now: now)
        return state.reclaim(heartbeat.leaseIDs, by: worker, now: now)
      }
      if !void.isEmpty { send(.cancel(leaseIDs: void, reason: "taken back"), to: worker) }
      note(narrowLink: heartbeat.narrowLinkBytesPerSecond, of: worker)
      try shared.gradients.state.withLock {
        try $0.report(heartbeat.gradientClasses, by: worker)
        $0.report(gradientVersion: heartbeat.heldGradientVersion, by: worker, now: now)
      }
      renewGradients(heartbeat.gradientLeaseIDs, by: worker, now)
    case .trajectoryResult(let result):
      try take(result, from: worker)
    case .pullPlan(let heldIdentity):
      servePlan(holding: heldIdentity, to: worker)
    case .pullManifest(let version, let isDelta):
      guard let weights = served(version, isDelta, .goesOn) else {
        return send(.weightsUnavailable(version: version, isDelta: isDelta), to: worker)
      }
      send(.manifest(WeightManifest(version: version, leaves: weights.manifest, isDelta: isDelta)), to: worker)
    case .pullWeights(let pull):
      try serve(pull, to: worker)
    case .returnWork(let work):
      // One that cannot sample them gets its credits back no more: it is soon asked nothing.
      log(
        work.reason.isEmpty ? .debug : .error, of: worker,
        "worker \(name(of: worker)) gives \(work.sampleIndices.count) samples of lease \(work.leaseID) back\(work.reason.isEmpty ? "" : ": \(work.reason)")"
      )
      shared.state.withLock { $0.takeBack(work, from: worker) }
    case .drain(let reason):
      log(.info, of: worker, "worker \(name(of: worker)) drains: \(reason)")
      shared.state.withLock { $0.registry.drain(worker) }
    case .goodbye(let reason):
      drop(worker, "goodbye: \(reason)", isLoss: false)
    case .pullGradientWork, .gradientReady, .gradientDeclined, .gradientChunk:
      try handleGradient(message, from: worker)
    default:
      throw WireError("\(message.name) is not a worker's to send")
    }
  }

  private func take(_ result: TrajectoryResult, from worker: WorkerID) throws {
    let (verdict, isComplete, relayed) = try shared.state.withLock { state in
      let before = state.groups.completedCount
      let verdict = try state.accept(result, from: worker, model: options.model, now: MonotonicClock.now())
      state.registry.holds(result.policyVersion, worker: worker)
      return (verdict, state.groups.completedCount > before, state.relayed?.takeFinished() ?? [])
    }
    if verdict == .accepted { earned(worker) }
    // Held upstream before it is acknowledged down here.
    for result in relayed { options.relay?.deliver(result) }
    if verdict == .stale {
      log(
        .notice, of: worker,
        "dropped a stale sample of group \(result.groupOrdinal) from version \(result.policyVersion); it is sampled again"
      )
    }
    // What a run's bookkeeping can be checked against (scripts/test-network).
    logger.debug(
      "result of group \(result.groupOrdinal), sample \(result.sampleIndex), lease \(result.leaseID), from \(name(of: worker)): \(verdict)"
    )
    let wireVerdict: ResultAcknowledgement.Verdict =
      switch verdict {
      case .accepted: .accepted
      case .duplicate: .duplicate
      case .stale: .stale
      case .unknown: .unknown
      }
    send(
      .resultAcknowledgement(
        ResultAcknowledgement(leaseID: result.leaseID, sampleIndex: result.sampleIndex, verdict: wireVerdict)),
      to: worker)
    if isComplete { shared.signal.put(()) }
  }

  func name(of worker: WorkerID) -> String {
    shared.state.withLock { $0.registry[worker]?.name } ?? "\(worker)"
  }

}
