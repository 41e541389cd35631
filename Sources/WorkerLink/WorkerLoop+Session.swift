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
    switch waiting.notice(every: options.waitingNotice, now) {
    case .first: logger.info("connecting to the learner at \(endpoint)")
    case .again(let seconds):
      let missing = waiting.whatIsMissing(at: endpoint, failure: places.failure)
      logger.notice("waiting for the learner at \(endpoint) (\(seconds) s): \(missing)")
    case nil: break
    }
    let patience = places.all.count > 1 ? min(.seconds(3), options.handshakeTimeout) : options.handshakeTimeout
    if waiting.patience(now) >= patience {
      places.unanswered()
      try openConnection(elsewhere: true)
    }
    try connectWhenFound(now)
    guard waiting.owesHello(now) else { return }
    waiting.saysHello(now, spread: Double.random(in: 0..<1))
    let hello = Hello(
      workerName: options.workerName, incarnation: incarnation, hostname: hostName(), processID: Int(getpid()),
      threads: options.threads, fingerprint: options.fingerprint, float32Fingerprint: options.float32Fingerprint,
      computesGradients: options.computesGradients, isRelay: options.isRelay)
    // Refused when nobody is there; the next knock comes anyway.
    waiting.saidHello(isHeard: try dealer.send(Envelope(.hello(hello)).encoded()) == .sent)
  }

  /// - Parameter elsewhere: at the next place there is.
  func openConnection(elsewhere: Bool = false) throws {
    if elsewhere, places.goToNext() { logger.notice("trying \(endpoint)") }
    dealer = try Self.openDealer(context, security)
    outbox = Outbox()
    let now = MonotonicClock.now()
    waiting.openedConnection(now)
    places.opened()
    try connectWhenFound(now)
  }

  /// Connects the open connection as soon as the address of its place is known.
  private func connectWhenFound(_ now: Duration) throws {
    guard places.mayLookUp(now) else { return }
    switch try lookup.ask(endpoint) {
    case .pending: break
    case .found(let addresses):
      let address = places.choose(addresses, of: places.current)
      try dealer.connect(address)
      places.connected(to: address)
    case .failed(let reason):
      if places.notFound(reason, now) { logger.debug("the name \(endpoint.host) is not found: \(reason)") }
    }
  }

  var hasSentEverything: Bool { outbox.isEmpty }

  /// Leaves the session, which has ended with a goodbye, for the first place.
  func attachToFirst() throws {
    session = nil
    shared.state.withLock { $0.isConnected = false }
    places.goToFirst()
    waiting.begins(MonotonicClock.now(), isLost: false, spread: nil)
    try openConnection()
  }

  /// Gives the connection up and starts anew. Work and results are kept: the learner may be back with the same run.
  func reconnect(_ reason: String, elsewhere: Bool = false) throws {
    if session != nil {
      logger.warning("lost the learner at \(endpoint): \(reason)")
      shared.events.put(.disconnected(reason: reason))
    } else {
      logger.warning("\(reason)")
    }
    waiting.begins(MonotonicClock.now(), isLost: session != nil, spread: Double.random(in: 0..<1))
    session = nil
    wayBack = WayBack()
    shared.state.withLock { $0.isConnected = false }
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
    waiting.joined()
    logger.info("joined run \(welcome.runID) at \(endpoint)")
    shared.state.withLock { $0.isConnected = true }
    if told.learner != welcome.learnerIncarnation {
      settle(work.unacknowledged.count + gradients.computed.count)
      work.removeAll()
      gradients.removeAll()
      told.learnerChanged(to: welcome.learnerIncarnation)
      weights.learnerChanged(current: welcome.currentVersion)
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
    work.rejoined()
    try spendCredits()
    try sendHeartbeat()
  }

  func subscribe(to announced: String) throws {
    guard let announced = try? (places.address ?? endpoint).sibling(announced: Endpoint(announced)),
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

// What the worker's I/O thread hears of its connection.
extension WorkerLoop {
  /// What happens below the messages: a connection that ends, and keys that do not fit, of which CURVE itself says nothing.
  func handle(_ event: ConnectionEvent) throws {
    waiting.heard(event, hasSession: session != nil, MonotonicClock.now())
    switch event {
    case .connected, .accepted: break
    case .ready: places.completedHandshake()
    case .disconnected:
      if session != nil { try reconnect("the connection was closed", elsewhere: true) }
    case .keyRefused:
      complain(
        "the learner at \(endpoint) refuses this worker's key \(ownKey); add the line \"\(ownKey) \(options.workerName)\" to "
          + "its authorized workers (learner.authorized_workers): it is let in within seconds. Or give this worker a --key "
          + "that is there")
    case .keyQuarantined:
      complain(
        "the learner at \(endpoint) refuses this worker's key \(ownKey): it is in quarantine. `softgrpo keys list` on the "
          + "learner's machine says why; once this machine is mended, `softgrpo keys pardon` there lets it in again")
    case .mechanismMismatch:
      complain(
        security.isNone
          ? "the learner at \(endpoint) asks for keys and this worker has none: give --keys, or --key and --server-key"
          : "the learner at \(endpoint) works without keys and this worker has some: start the learner with --keys, or this "
            + "worker with --insecure and without keys")
    case .handshakeEnded(let isClosedByPeer):
      guard session == nil else { break }
      guard places.brokeHandshake(isClosedByPeer: isClosedByPeer) else {
        logger.debug("the connection to \(endpoint) ended in its handshake")
        break
      }
      complain(
        security.isNone
          ? "the learner at \(endpoint) ended the handshake: perhaps it asks for keys and this worker has none: give --keys"
          : "the learner at \(endpoint) ended the handshake: --server-key is probably not that learner's key (its log has it), "
            + "or it works without keys, or something else listens there")
    case .wrongServerKey, .handshakeBroken:
      complain("the handshake with \(endpoint) broke: something else than a softgrpo learner may listen there")
    }
  }

  private var ownKey: String {
    if case .client(let keys, _) = security { keys.publicKey.text } else { "(none)" }
  }

  /// Logs why there is no session: once, then as often as a waiting worker says that it waits.
  func complain(_ reason: String) {
    guard waiting.mayComplain(reason, every: options.waitingNotice, MonotonicClock.now()) else { return }
    logger.error("\(reason)")
  }
}

// The way back to the first place.
extension WorkerLoop {
  /// Looks now and then whether the first place answers again, and goes there between two pieces of work: takes nothing new,
  /// finishes and delivers what there is, says Goodbye. A relay stays, for the sake of those below it.
  func lookBack(_ now: Duration) throws {
    guard places.current != 0, session != nil, !isDraining, !options.isRelay else {
      return wayBack = WayBack()
    }
    if wayBack.isReturning { return try leaveWhenDone(now) }
    guard let next = wayBack.next else {
      // Not all at once: those that lost one relay left it together.
      wayBack.next = now + options.returnInterval * Double.random(in: 1...1.5)
      return
    }
    guard let probe = wayBack.probe else {
      if now >= next {
        switch try lookup.ask(places.first.endpoint) {
        case .pending: return
        case .found(let addresses): wayBack.probe = WayBack.Probe(try openProbe(addresses))
        case .failed: break
        }
        wayBack.next = now + options.returnInterval * Double.random(in: 1...1.5)
      }
      return
    }
    while let event = probe.socket.nextEvent() {
      guard case .ready = event else { continue }
      logger.notice("\(places.first.endpoint) answers again: going back there when what was begun here is delivered")
      wayBack.probe = nil
      wayBack.isReturning = true
      return try send([.drain(reason: "going back to \(places.first.endpoint)")])
    }
    if now >= next { wayBack.probe = nil }
  }

  private func leaveWhenDone(_ now: Duration) throws {
    guard work.sampleCount == 0, work.unacknowledged.isEmpty, gradients.leaseIDs.isEmpty else { return }
    if !wayBack.hasSaidGoodbye {
      wayBack.hasSaidGoodbye = true
      return try send([.goodbye(reason: "going back to \(places.first.endpoint)")])
    }
    guard hasSentEverything else { return }
    wayBack = WayBack()
    try attachToFirst()
  }

  /// A connection to the first place.
  private func openProbe(_ addresses: [Endpoint]) throws -> Socket {
    let socket = try Self.openDealer(context, places.first.security)
    try socket.connect(places.choose(addresses, of: 0))
    return socket
  }
}
