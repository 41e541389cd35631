import Coordination
import Logging
import Synchronization
import Transport
import WeightSync
import Wire

/// The learner's I/O thread: owns the sockets, moves messages between them and the shared state. Confined to its thread.
final class LearnerLoop {
  let options: LearnerFrontEndOptions
  let shared: SharedFrontEnd
  let logger: Logger
  private let control: Socket
  private let publisher: Socket
  private let authentication: AuthenticationHandler?
  /// `nil` without keys.
  private let allowed: AllowList?
  private let announcementEndpoint: String
  private let learnerIncarnation: UInt64
  private let limits: WireLimits
  private var sessions: [[UInt8]: WorkerID] = [:]
  private var routes: [WorkerID: [UInt8]] = [:]
  private var outboxes: [WorkerID: Outbox] = [:]
  /// Workers whose outbox is not empty.
  private var waiting: Set<WorkerID> = []
  /// Workers whose connection is gone, but not what they sent before: a goodbye or results may still be unread.
  private var gone: Set<WorkerID> = []
  private var keys: [WorkerID: PublicKey] = [:]
  /// The list of keys that the sessions were last compared with.
  private var listGeneration = 0
  private var nextTimeCheck: Duration = .zero
  private var nextFlush: Duration = .zero
  private var nextGrants: Duration = .zero
  /// Grants were put off.
  private var owesGrants = false
  private var failedHandshakes = 0
  private var handshakesLogged: Duration?
  private var nextSession: UInt64 = UInt64.random(in: 1...(1 << 48))
  /// Connections that broke the rules: their frames are dropped unread. Bounded; the oldest are forgotten first.
  private var outcasts: [[UInt8]] = []

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
      shared.state.withLock { $0.isFinished = true }
    } catch {
      logger.critical("the learner's I/O thread ends: \(error)")
      shared.state.withLock {
        $0.failure = "\(error)"
        $0.isFinished = true
      }
    }
    shared.signal.put(())
    shared.signal.close()
  }

  /// One turn of the loop; false when there is nothing left to do.
  private func turn() throws -> Bool {
    // A full queue has no event of its own: what waits is offered again soon.
    let timeout: Duration =
      !gone.isEmpty
      ? .zero : owesGrants ? .milliseconds(1) : waiting.isEmpty ? options.heartbeatInterval / 2 : .milliseconds(5)
    if let authentication {
      try poll(control, authentication.socket, waker: shared.waker, timeout: timeout)
      try authentication.serve()
      noteHandshakes()
    } else {
      try poll(control, waker: shared.waker, timeout: timeout)
    }
    try flushWaiting()
    // A bounded number, so that timers are looked at however much arrives.
    var isRead = false
    for _ in 0..<256 where !isRead {
      if let frames = try control.receive() { try handle(frames) } else { isRead = true }
    }
    if isRead { for worker in gone { drop(worker, "connection lost", isLoss: true) } }
    try keepTime()
    try sendOutgoing()
    return !shared.state.withLock { $0.shutdownReason != nil && $0.registry.count == 0 || $0.isFinished }
  }

  /// Timers. Looking at every worker and lease costs as much as many messages, so it is not done between any two of them.
  private func keepTime() throws {
    let now = MonotonicClock.now()
    guard now >= nextTimeCheck else { return }
    nextTimeCheck = now + min(.milliseconds(100), options.heartbeatInterval / 10)
    try endRevokedSessions()
    try passOnWhatIsGivenBack(now)
    let (setAside, isComplete) = shared.state.withLock { state in
      let before = state.completed.count
      let setAside = state.takeSetAside(now: now)
      return (setAside, state.completed.count > before)
    }
    for key in setAside {
      logger.error(
        "sample \(key.sampleIndex) of group \(key.groupOrdinal) is set aside: \(options.maximumLosses) workers were lost with it; the group is trained on without it. See those workers' logs; the prompt may be one that they cannot bear"
      )
    }
    if isComplete { shared.signal.put(()) }
    let (lost, due, current) = shared.state.withLock { state in
      for lease in state.table.expire(now: now) {
        logger.warning("lease \(lease.id) of group \(lease.groupOrdinal) expired; its samples are queued again")
        state.outgoing.append((lease.worker, .cancel(leaseIDs: [lease.id], reason: "expired")))
      }
      return (
        state.registry.lost(now: now), state.registry.dueForHeartbeat(now: now),
        state.versions.announcement
      )
    }
    for worker in lost { drop(worker, "silent for \(options.livenessTimeout)", isLoss: true) }
    noteComputing(now)
    for worker in due { try send(.heartbeat(Heartbeat(currentVersion: current)), to: worker) }
  }

  private func sendOutgoing() throws {
    let now = MonotonicClock.now()
    let (outgoing, announcement) = shared.state.withLock { state in
      // A plan looks at every worker: with a thousand of them not after every few messages.
      owesGrants = now < nextGrants
      if !owesGrants {
        state.grantWork(now: now, leaseDuration: options.leaseDuration)
        nextGrants = now + min(.milliseconds(20), .microseconds(4 * state.registry.count))
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
    for (worker, message) in outgoing { try send(message, to: worker) }
    try sendGradientMessages(now)
  }

  private func handle(_ frames: [[UInt8]]) throws {
    guard let route = frames.first, !outcasts.contains(route) else { return }
    do {
      let envelope = try Envelope(decoding: Array(frames.dropFirst()), limits: limits)
      if case .hello(let hello) = envelope.message { return try welcome(hello, route) }
      guard let worker = sessions[route] else {
        try reply(.refused(reason: "no such session: say Hello"), session: 0, to: route)
        return
      }
      // Sent before the answer to a second Hello arrived: the new session repeats what matters.
      guard worker.value == envelope.session else { return }
      shared.state.withLock { $0.registry.heard(from: worker, now: MonotonicClock.now()) }
      try handle(envelope.message, from: worker)
    } catch let error as WireError {
      try castOut(route, error)
    }
  }

  /// Ends the session of a peer that broke the rules; where there are keys, its own is refused from now on. A program that is
  /// merely out of date may come back when it is not.
  private func castOut(_ route: [UInt8], _ error: WireError) throws {
    shared.state.withLock { $0.malformedMessages += 1 }
    let worker = sessions[route]
    let name = worker.flatMap { id in shared.state.withLock { $0.registry[id]?.name } } ?? "an unknown peer"
    var consequence = "its session ends"
    if !error.isOtherGeneration, let allowed, let key = control.lastSenderKey() {
      allowed.quarantine(key, reason: String("\(error)".prefix(200)))
      consequence += ", and its key \(key) is refused until this learner is started again"
    }
    logger.error("malformed message from \(name): \(error); \(consequence)")
    if let worker { drop(worker, "broke the protocol", isLoss: true) }
    try reply(.protocolError(reason: String("\(error)".prefix(1000))), session: worker?.value ?? 0, to: route)
    ban(route)
  }

  /// Connections that never got as far as showing a key. CURVE says nothing of them to anyone, so the log does.
  private func noteHandshakes() {
    while let event = control.nextEvent() {
      let reason: String
      switch event {
      case .wrongServerKey: reason = "it has another server's key than this learner's"
      case .mechanismMismatch: reason = "it has no keys (--insecure?)"
      case .handshakeBroken: reason = "it does not speak this protocol"
      default: continue
      }
      failedHandshakes += 1
      let now = MonotonicClock.now()
      if let last = handshakesLogged, now - last < .seconds(60) { continue }
      handshakesLogged = now
      logger.warning(
        "a connection to \(options.controlEndpoint) failed in its handshake: \(reason); \(failedHandshakes) so far")
    }
  }

  /// From here on the connection is not read.
  private func ban(_ route: [UInt8]) {
    outcasts.append(route)
    if outcasts.count > 1024 { outcasts.removeFirst() }
  }

  /// Sessions whose key was taken off the list end; a new connection would be refused anyway.
  private func endRevokedSessions() throws {
    guard let allowed else { return }
    allowed.refresh(logger: logger)
    guard allowed.generation != listGeneration else { return }
    listGeneration = allowed.generation
    for (worker, key) in keys where allowed.judge(key) == .unknown {
      guard let route = routes[worker] else { continue }
      drop(worker, "its key is not authorized any longer", isLoss: true)
      try reply(
        .protocolError(reason: "this worker's key is not authorized any longer"), session: worker.value, to: route)
      ban(route)
    }
  }

  private func welcome(_ introduced: Hello, _ route: [UInt8]) throws {
    var hello = introduced
    hello.fingerprint = hello.fingerprint(under: options.dtype)
    let key = control.lastSenderKey()
    var keyName = ""
    if let allowed {
      // The handshake has settled this; nothing is lost by asking once more, and a list may have changed since.
      guard let key, case .allowed(let name) = allowed.judge(key) else {
        try reply(.refused(reason: "this worker's key is not authorized"), session: 0, to: route)
        return ban(route)
      }
      if name != hello.workerName { keyName = " (key \(name))" }
    }
    let now = MonotonicClock.now()
    nextSession += 1
    let worker = WorkerID(nextSession)
    let (current, ending, older) = shared.state.withLock { state in
      let older = state.registry.session(ofIncarnation: hello.incarnation)
      if let older { state.table.transfer(from: older, to: worker) }
      state.registry.join(
        worker, name: hello.workerName, incarnation: hello.incarnation, fingerprint: hello.fingerprint, now: now)
      return (state.versions.announcement, state.shutdownReason, older)
    }
    shared.gradients.state.withLock { $0.join(worker, hello: hello, older: older) }
    if let older { drop(older, "came back", isLoss: false) }
    if let previous = sessions[route] { drop(previous, "said Hello again", isLoss: false) }
    sessions[route] = worker
    routes[worker] = route
    outboxes[worker] = Outbox()
    keys[worker] = key
    logger.info(
      "worker \(hello.workerName)\(keyName) joined: \(hello.hostname), process \(hello.processID), \(hello.threads) threads, \(hello.fingerprint)"
    )
    try send(
      .welcome(
        Welcome(
          runID: options.runID, learnerIncarnation: learnerIncarnation, model: options.model, dtype: options.dtype,
          heartbeatIntervalMilliseconds: options.heartbeatInterval.milliseconds,
          livenessTimeoutMilliseconds: options.livenessTimeout.milliseconds,
          announcementEndpoint: announcementEndpoint, currentVersion: current, relayPath: options.relay?.path ?? [])),
      to: worker)
    if let ending { try send(.shutdown(reason: ending), to: worker) }
  }

  private func handle(_ message: Message, from worker: WorkerID) throws {
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
      if !void.isEmpty { try send(.cancel(leaseIDs: void, reason: "taken back"), to: worker) }
      try shared.gradients.state.withLock { try $0.report(heartbeat.gradientClasses, by: worker) }
      try renewGradients(heartbeat.gradientLeaseIDs, by: worker, now)
    case .trajectoryResult(let result):
      try take(result, from: worker)
    case .pullPlan(let heldIdentity):
      try servePlan(holding: heldIdentity, to: worker)
    case .pullManifest(let version, let isDelta):
      guard let weights = served(version, isDelta) else {
        return try send(.weightsUnavailable(version: version, isDelta: isDelta), to: worker)
      }
      try send(.manifest(WeightManifest(version: version, leaves: weights.manifest, isDelta: isDelta)), to: worker)
    case .pullWeights(let pull):
      try serve(pull, to: worker)
    case .returnWork(let work):
      logger.debug(
        "worker \(name(of: worker)) gives \(work.sampleIndices.count) samples of lease \(work.leaseID) back")
      shared.state.withLock { $0.takeBack(work, from: worker) }
    case .drain(let reason):
      logger.info("worker \(name(of: worker)) drains: \(reason)")
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
      let before = state.completed.count
      let verdict = try state.accept(result, from: worker, model: options.model, now: MonotonicClock.now())
      state.registry.holds(result.policyVersion, worker: worker)
      return (verdict, state.completed.count > before, state.relayed?.takeFinished() ?? [])
    }
    // Held upstream before it is acknowledged down here.
    for result in relayed { options.relay?.deliver(result) }
    if verdict == .stale {
      logger.notice(
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
    try send(
      .resultAcknowledgement(
        ResultAcknowledgement(leaseID: result.leaseID, sampleIndex: result.sampleIndex, verdict: wireVerdict)),
      to: worker)
    if isComplete { shared.signal.put(()) }
  }

  private func served(_ version: Int, _ isDelta: Bool) -> (any ChunkedWeights)? {
    let now = MonotonicClock.now()
    return shared.state.withLock { $0.versions.served(version: version, isDelta: isDelta, now: now) }
  }

  /// Nothing to plan before the first publication: the worker asks again when it is told of a version.
  private func servePlan(holding identity: [UInt8], to worker: WorkerID) throws {
    let held = try? Digest(identity)
    guard let plan = shared.state.withLock({ $0.versions.plan(holding: held) }) else { return }
    try send(.weightPlan(WeightPlanDescription(plan)), to: worker)
  }

  private func serve(_ pull: PullWeights, to worker: WorkerID) throws {
    guard let weights = served(pull.version, pull.isDelta) else {
      return try send(.weightsUnavailable(version: pull.version, isDelta: pull.isDelta), to: worker)
    }
    guard pull.firstChunk + pull.count <= weights.chunkCount else {
      throw WireError("PullWeights asks for chunks that version \(pull.version) does not have")
    }
    for index in pull.firstChunk..<pull.firstChunk + pull.count {
      // Read when it can go: what waits takes no memory.
      outboxes[worker]?.putBulk { [shared] in
        guard let bytes = weights.chunk(index) else { return nil }
        shared.state.withLock { $0.weightBytesSent += bytes.count }
        return .weightsChunk(WeightsChunk(version: pull.version, index: index, bytes: bytes, isDelta: pull.isDelta))
      }
    }
    try flush(worker)
  }

  func name(of worker: WorkerID) -> String {
    shared.state.withLock { $0.registry[worker]?.name } ?? "\(worker)"
  }

  /// Ends a session on our side; what it held is queued again.
  private func drop(_ worker: WorkerID, _ reason: String, isLoss: Bool) {
    let (name, leases) = shared.state.withLock { state in
      let name = state.registry[worker]?.name ?? "\(worker)"
      state.registry.leave(worker)
      if isLoss { state.lostSessions += 1 }
      return (name, state.table.remove(worker: worker, isLoss: isLoss))
    }
    if let route = routes.removeValue(forKey: worker), sessions[route] == worker { sessions[route] = nil }
    outboxes[worker] = nil
    waiting.remove(worker)
    gone.remove(worker)
    keys[worker] = nil
    let samples = leases.reduce(0) { $0 + $1.sampleIndices.count }
    let leaves = shared.gradients.state.withLock { $0.leave(worker) }
    if leaves > 0 { shared.gradients.signal.put(()) }
    let consequence =
      (samples > 0 ? "; \(samples) samples are queued again" : "")
      + (leaves > 0 ? "; \(leaves) gradient leaves are computed by others" : "")
    logger.log(level: isLoss ? .warning : .info, "worker \(name) left (\(reason))\(consequence)")
  }

  /// Queues a message and sends what the socket takes.
  func send(_ message: Message, to worker: WorkerID) throws {
    guard outboxes[worker] != nil else { return }
    outboxes[worker]!.put(message)
    // What waits counts as said: it goes before any heartbeat would.
    shared.state.withLock { $0.registry.sent(to: worker, now: MonotonicClock.now()) }
    try flush(worker)
  }

  /// Offers again what sockets did not take; not between any two messages, since a thousand workers may be waiting.
  private func flushWaiting() throws {
    guard !waiting.isEmpty else { return }
    let now = MonotonicClock.now()
    guard now >= nextFlush else { return }
    nextFlush = now + .milliseconds(2)
    for worker in waiting { try flush(worker) }
  }

  private func flush(_ worker: WorkerID) throws {
    guard let route = routes[worker],
      let state = try outboxes[worker]?.flush(
        session: worker.value, { try control.send([route] + $0) })
    else { return }
    switch state {
    case .empty: waiting.remove(worker)
    case .waiting:
      waiting.insert(worker)
      if outboxes[worker]!.isOverfull { drop(worker, "does not read its messages", isLoss: true) }
    case .unreachable:
      outboxes[worker] = nil
      waiting.remove(worker)
      gone.insert(worker)
    }
  }

  /// To a peer that has no session (any longer): lost when it does not read.
  private func reply(_ message: Message, session: UInt64, to route: [UInt8]) throws {
    try control.send([route] + Envelope(session: session, message).encoded())
  }
}
