import Coordination
import Glibc
import Logging
import Machine
import Sessions
import Transport
import Wire

// Finding somebody to work for, joining, and starting anew.
extension WorkerLoop {
  /// Says Hello until somebody answers.
  func knock(_ now: Duration) throws {
    if now - lastNotice >= options.waitingNotice {
      lastNotice = now
      logger.notice(
        "waiting for the learner at \(endpoint) (\((now - waitingSince).components.seconds) s): \(whatIsMissing)")
    } else if !hasLoggedWaiting {
      hasLoggedWaiting = true
      logger.info("connecting to the learner at \(endpoint)")
    }
    let patience = attachments.count > 1 ? min(.seconds(3), options.handshakeTimeout) : options.handshakeTimeout
    if now - connectionOpened >= patience {
      // A name may have several addresses, of which one answers.
      reach.turns[attachment, default: 0] += 1
      try openConnection(elsewhere: true)
    }
    try connectWhenFound(now)
    guard now >= nextHello else { return }
    nextHello = now + backoff.pause(spread: Double.random(in: 0..<1))
    let hello = Hello(
      workerName: options.workerName, incarnation: incarnation, hostname: hostName(), processID: Int(getpid()),
      threads: options.threads, fingerprint: options.fingerprint, float32Fingerprint: options.float32Fingerprint,
      computesGradients: options.computesGradients, isRelay: options.isRelay)
    // Refused when nobody is there; the next knock comes anyway.
    isHelloUnheard = try dealer.send(Envelope(.hello(hello)).encoded()) != .sent
  }

  /// - Parameter elsewhere: at the next place there is.
  func openConnection(elsewhere: Bool = false) throws {
    if elsewhere, attachments.count > 1 {
      attachment = (attachment + 1) % attachments.count
      brokenHandshakes = 0
      logger.notice("trying \(endpoint)")
    }
    dealer = try Self.openDealer(context, limits, security)
    connectionState = .nothing
    outbox = Outbox()
    connectionOpened = MonotonicClock.now()
    reach.opened()
    try connectWhenFound(connectionOpened)
  }

  var preferredEndpoint: Endpoint { attachments[0].endpoint }

  var hasSentEverything: Bool { outbox.isEmpty }

  /// Leaves the session, which has ended with a goodbye, for the first place.
  func attachToFirst() throws {
    session = nil
    isHelloUnheard = false
    shared.state.withLock { $0.isConnected = false }
    (attachment, brokenHandshakes) = (0, 0)
    waitingSince = MonotonicClock.now()
    nextHello = waitingSince
    try openConnection()
  }

  /// Gives the connection up and starts anew. Work and results are kept: the learner may be back with the same run.
  func reconnect(_ reason: String, elsewhere: Bool = false) throws {
    let now = MonotonicClock.now()
    if session != nil {
      logger.warning("lost the learner at \(endpoint): \(reason)")
      shared.events.put(.disconnected(reason: reason))
      waitingSince = now
      lastNotice = now
    } else {
      logger.warning("\(reason)")
    }
    session = nil
    wayBack = WayBack()
    isHelloUnheard = false
    shared.state.withLock { $0.isConnected = false }
    nextHello = now + backoff.pause(spread: Double.random(in: 0..<1))
    try openConnection(elsewhere: elsewhere)
  }

  func handle(_ envelope: Envelope) throws {
    switch envelope.message {
    case .welcome(let welcome):
      return try join(welcome, session: envelope.session)
    case .refused(let reason):
      // Without a session it is the answer to a Hello, and the next one is due anyway.
      if session != nil { return try reconnect(reason) }
      return logger.warning("the learner at \(endpoint) refuses: \(reason)")
    case .protocolError(let reason):
      return try reconnect("the learner says that we broke the protocol: \(reason)", elsewhere: true)
    default: break
    }
    guard session != nil, envelope.session == session!.id else { return }
    session!.liveness.heard(now: MonotonicClock.now())
    try handleInSession(envelope.message)
  }

  func join(_ welcome: Welcome, session id: UInt64) throws {
    let now = MonotonicClock.now()
    if welcome.relayPath.contains(incarnation) {
      complain("\(endpoint) gets its work from this very relay: name another --connect")
      return try reconnect("a loop of relays", elsewhere: true)
    }
    session = WorkerSession(
      id: id,
      liveness: Liveness(
        interval: .milliseconds(welcome.heartbeatIntervalMilliseconds),
        timeout: .milliseconds(welcome.livenessTimeoutMilliseconds), now: now))
    backoff.reset()
    lastRefusal = nil
    logger.info("joined run \(welcome.runID) at \(endpoint)")
    shared.state.withLock { $0.isConnected = true }
    if learnerIncarnation != welcome.learnerIncarnation {
      learnerIncarnation = welcome.learnerIncarnation
      settle(work.unacknowledged.count + gradients.computed.count)
      work.removeAll()
      returned = []
      gradients.removeAll()
      deliveredVersion = nil
      deliveredBase = nil
      deliveredReference = nil
      deliveredIntermediate = nil
      weights.learnerChanged(current: welcome.currentVersion)
      saysNarrow = false
      shared.events.put(.joined(welcome))
    }
    weights.pace.maxStaleness = welcome.maxStaleness
    weights.pace.reconnected(now: now)
    try subscribe(to: welcome.announcementEndpoint)
    try send(weights.resume(now: now))
    if let current = welcome.currentVersion { try announced(current, isAuthoritative: true) }
    for result in work.unacknowledged.values { try send([.trajectoryResult(result)]) }
    try send(gradients.resume())
    if isDraining { try send([.drain(reason: "draining")]) }
    try giveBack()
    promised = work.sampleCount
    try spendCredits()
    try sendHeartbeat()
  }

  func subscribe(to announced: String) throws {
    guard let announced = try? (reach.address ?? endpoint).sibling(announced: Endpoint(announced)),
      announced.description != subscribedTo
    else { return }
    if subscribedTo != nil { subscriber = try Self.openSubscriber(context, security) }
    // A missed announcement repairs itself with the next heartbeat, so a useless endpoint is no reason to stop.
    do {
      try subscriber.connect(announced)
      subscribedTo = announced.description
    } catch {
      logger.warning("no announcements: \(error)")
    }
  }
}
