import Coordination
import Logging
import Machine
import Sessions
import Transport
import WeightExchange
import Wire

// Who may speak to the learner's I/O thread, from Hello to the end of the session.
extension LearnerLoop {
  /// Ends the session of a peer that broke the rules; where there are keys, its own is refused from now on. A program that is
  /// merely out of date may come back when it is not.
  ///
  /// - Parameter key: whose message it was.
  func castOut(_ route: [UInt8], _ error: WireError, key: PublicKey?) {
    shared.state.withLock { $0.malformedMessages += 1 }
    let worker = sessions[route]
    let name = worker.flatMap { id in shared.state.withLock { $0.registry[id]?.name } } ?? "an unknown peer"
    var consequence = "its session ends"
    if !error.isOtherGeneration, let allowed, let key {
      quarantine(key, allowed, reason: "broke the protocol: \(error)")
      consequence += ", and its key \(key) is refused until it is pardoned (softgrpo keys pardon)"
    }
    log(
      .error, of: worker.flatMap { parties[$0] } ?? key.map { .key($0.text) },
      "malformed message from \(name): \(error); \(consequence)")
    if let worker { drop(worker, "broke the protocol", isLoss: true) }
    reply(.protocolError(reason: "\(error)"), session: worker?.value ?? 0, to: route)
    ban(route)
  }

  /// Connections that never got as far as showing a key. CURVE says nothing of them to anyone, so the log does.
  func noteHandshakes() {
    while let event = control.nextEvent() {
      let reason: String
      switch event {
      case .wrongServerKey: reason = "it has another server's key than this learner's"
      case .mechanismMismatch:
        reason = allowed == nil ? "it has keys and this learner has none" : "it has no keys (--insecure?)"
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
  func ban(_ route: [UInt8]) {
    guard outcasts.insert(route).inserted else { return }
    outcastsByAge.append(route)
    if outcastsByAge.count > 1024 { outcasts.remove(outcastsByAge.removeFirst()) }
  }

  /// Sessions whose key was taken off the list end; a new connection would be refused anyway.
  func endRevokedSessions() {
    guard let allowed else { return }
    allowed.refresh(logger: logger)
    guard allowed.generation != listGeneration else { return }
    listGeneration = allowed.generation
    for (worker, key) in keys {
      let reason: String
      switch allowed.judge(key) {
      case .allowed: continue
      case .unknown: reason = "its key is not authorized any longer"
      case .quarantined(let why): reason = "its key is in quarantine: \(why)"
      }
      guard let route = routes[worker] else { continue }
      drop(worker, reason, isLoss: true)
      reply(.protocolError(reason: reason.bounded(toBytes: String.reasonByteCount)), session: worker.value, to: route)
      ban(route)
    }
  }

  func welcome(_ introduced: Hello, _ route: [UInt8]) {
    var hello = introduced
    hello.workerName = hello.workerName.bounded(toBytes: WireLimits.nameByteCount)
    hello.fingerprint = hello.fingerprint(under: options.dtype)
    let key = control.lastSenderKey()
    var (keyName, ownName) = ("", "")
    if let allowed {
      // The handshake has settled this; nothing is lost by asking once more, and a list may have changed since.
      guard let key, case .allowed(let name) = allowed.judge(key) else {
        reply(.refused(reason: "this worker's key is not authorized"), session: 0, to: route)
        return ban(route)
      }
      ownName = "key \(name)"
      if name != hello.workerName { keyName = " (key \(name))" }
      guard !hello.isRelay || allowed.isRelay(key) else {
        reply(.refused(reason: AllowList.relayRemedy(key)), session: 0, to: route)
        return noteRefusedRelay(key)
      }
    }
    let party: Party = key.map { .key($0.text) } ?? .process(incarnation: hello.incarnation)
    // One that repeats itself is heard again when it has waited.
    guard withBudget(of: party, { $0.hello(now: MonotonicClock.now()) }) else {
      return mute(route, MonotonicClock.now())
    }
    if allowed == nil, let reason = shared.state.withLock({ $0.banned[party] }) {
      let words = "this worker was caught: \(reason)".bounded(toBytes: String.reasonByteCount)
      reply(.refused(reason: words), session: 0, to: route)
      return ban(route)
    }
    let now = MonotonicClock.now()
    nextSession += 1
    let worker = WorkerID(nextSession)
    let (current, ending, older) = shared.state.withLock { state in
      // An incarnation is no secret where there are relays: with keys it counts for its own key alone.
      var older = state.registry.session(ofIncarnation: hello.incarnation)
      if let known = older, allowed != nil, keys[known] != key { older = nil }
      if let older { state.table.transfer(from: older, to: worker) }
      if allowed != nil {
        // The list lets it in: it was pardoned, if it was ever caught.
        state.banned[party] = nil
        hello.workerName = state.names.name(for: party, asking: hello.workerName, own: ownName)
      }
      state.registry.join(
        worker, name: hello.workerName, incarnation: hello.incarnation, fingerprint: hello.fingerprint, party: party,
        isRelay: hello.isRelay, now: now)
      return (state.versions.announcement, state.shutdownReason, older)
    }
    shared.gradients.state.withLock { $0.join(worker, hello: hello, older: older, party: party) }
    if let older { drop(older, "came back", isLoss: false) }
    if let previous = sessions[route] { drop(previous, "said Hello again", isLoss: false) }
    sessions[route] = worker
    routes[worker] = route
    outboxes[worker] = Outbox()
    keys[worker] = key
    parties[worker] = party
    sessionCounts[party, default: 0] += 1
    log(
      .info, of: party,
      "worker \(hello.workerName)\(keyName) joined: \(hello.hostname), process \(hello.processID), \(hello.threads) threads, \(hello.fingerprint)"
    )
    send(
      .welcome(
        options.welcome(learnerIncarnation, announcementEndpoint: announcementEndpoint, currentVersion: current)),
      to: worker)
    if let ending { send(.shutdown(reason: ending), to: worker) }
  }

  /// Once a minute: a relay that is refused knocks again.
  private func noteRefusedRelay(_ key: PublicKey) {
    let now = MonotonicClock.now()
    if let last = refusedRelayLogged, now - last < .seconds(60) { return }
    refusedRelayLogged = now
    logger.error("refused a relay: \(AllowList.relayRemedy(key))")
  }

  /// Ends a session on our side; what it held is queued again.
  func drop(_ worker: WorkerID, _ reason: String, isLoss: Bool) {
    let (name, party, leases) = shared.state.withLock { state in
      let name = state.registry[worker]?.name ?? "\(worker)"
      let party = state.registry[worker]?.party
      state.registry.leave(worker)
      if isLoss { state.lostSessions += 1 }
      return (name, party, state.table.remove(worker: worker, isLoss: isLoss))
    }
    if let route = routes.removeValue(forKey: worker), sessions[route] == worker { sessions[route] = nil }
    outboxes[worker] = nil
    waiting.remove(worker)
    gone.remove(worker)
    keys[worker] = nil
    lastPulls[worker] = nil
    messageBudgets[worker] = nil
    if let party = parties.removeValue(forKey: worker) {
      sessionCounts[party] = sessionCounts[party] == 1 ? nil : sessionCounts[party].map { $0 - 1 }
    }
    let samples = leases.reduce(0) { $0 + $1.sampleIndices.count }
    let leaves = shared.gradients.state.withLock { $0.leave(worker) }
    if leaves > 0 { shared.gradients.signal.put(()) }
    let consequence =
      (samples > 0 ? "; \(samples) samples are queued again" : "")
      + (leaves > 0 ? "; \(leaves) gradient leaves are computed by others" : "")
    log(isLoss ? .warning : .info, of: party, "worker \(name) left (\(reason))\(consequence)")
  }
}
