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
    shared.state.withLock { $0.counters.malformedMessages += 1 }
    let worker = sessions.worker(at: route)
    let name = worker.flatMap { id in shared.state.withLock { $0.registry[id]?.name } } ?? "an unknown peer"
    var consequence = "its session ends"
    if !error.isOtherGeneration, let allowed, let key {
      let reason = "broke the protocol: \(error)"
      quarantine(key, allowed, reason: reason)
      // What the key delivered counts no longer either.
      shared.state.withLock { _ = $0.quarantine(.key(key.text), reason: reason) }
      consequence += ", and its key \(key) is refused until it is pardoned (softgrpo keys pardon)"
    }
    log(
      .error, of: worker.flatMap { sessions[$0]?.party } ?? key.map { .key($0.text) },
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
      faults.countHandshake()
      guard faults.isDue(.handshake, now: MonotonicClock.now()) else { continue }
      logger.warning(
        "a connection to \(options.controlEndpoint) failed in its handshake: \(reason); \(faults.failedHandshakes) so far"
      )
    }
  }

  /// From here on the connection is not read.
  func ban(_ route: [UInt8]) { refused.ban(route) }

  /// Sessions whose key was taken off the list end; a new connection would be refused anyway.
  func endRevokedSessions() {
    guard let allowed else { return }
    allowed.refresh(logger: logger)
    guard allowed.generation != listGeneration else { return }
    listGeneration = allowed.generation
    for (worker, key) in sessions.keys {
      let reason: String
      switch allowed.judge(key) {
      case .allowed: continue
      case .unknown: reason = "its key is not authorized any longer"
      case .quarantined(let why): reason = "its key is in quarantine: \(why)"
      }
      guard let route = sessions[worker]?.route else { continue }
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
    if allowed == nil, let reason = shared.state.withLock({ $0.caught[party] }) {
      let words = "this worker was caught: \(reason)".bounded(toBytes: String.reasonByteCount)
      reply(.refused(reason: words), session: 0, to: route)
      return ban(route)
    }
    let now = MonotonicClock.now()
    let worker = sessions.newID()
    let (current, ending, older) = shared.state.withLock { state in
      // An incarnation is no secret where there are relays: with keys it counts for its own key alone.
      var older = state.registry.session(ofIncarnation: hello.incarnation)
      if let known = older, allowed != nil, sessions[known]?.key != key { older = nil }
      if let older { state.table.transfer(from: older, to: worker) }
      if allowed != nil {
        // The list lets it in: it was pardoned, if it was ever caught.
        state.caught.pardon(party)
        hello.workerName = state.names.name(for: party, asking: hello.workerName, own: ownName)
      }
      state.registry.join(
        worker, name: hello.workerName, incarnation: hello.incarnation, fingerprint: hello.fingerprint, party: party,
        isRelay: hello.isRelay, now: now)
      return (state.versions.announcement, state.ending.announced, older)
    }
    shared.gradients.state.withLock { $0.join(worker, hello: hello, older: older, party: party) }
    if let older { drop(older, "came back", isLoss: false) }
    if let previous = sessions.worker(at: route) { drop(previous, "said Hello again", isLoss: false) }
    sessions.add(worker, route: route, key: key, party: party)
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
    guard faults.isDue(.refusedRelay, now: MonotonicClock.now()) else { return }
    logger.error("refused a relay: \(AllowList.relayRemedy(key))")
  }

  /// Ends a session on our side; what it held is queued again.
  func drop(_ worker: WorkerID, _ reason: String, isLoss: Bool) {
    let (name, party, leases) = shared.state.withLock { state in
      let name = state.registry[worker]?.name ?? "\(worker)"
      let party = state.registry[worker]?.party
      state.registry.leave(worker)
      if isLoss { state.counters.lostSessions += 1 }
      return (name, party, state.table.remove(worker: worker, isLoss: isLoss))
    }
    sessions.remove(worker)
    let samples = leases.reduce(0) { $0 + $1.sampleIndices.count }
    let leaves = shared.gradients.state.withLock { $0.leave(worker) }
    if leaves > 0 { shared.gradients.signal.put(()) }
    let consequence =
      (samples > 0 ? "; \(samples) samples are queued again" : "")
      + (leaves > 0 ? "; \(leaves) gradient leaves are computed by others" : "")
    log(isLoss ? .warning : .info, of: party, "worker \(name) left (\(reason))\(consequence)")
  }
}

extension LearnerLoop {
  /// Ends the sessions of those who were caught, on every connection.
  func endConvictedSessions() {
    let convicted = shared.state.withLock { state in
      state.caught.takeUnended().map { party, reason in
        (party, reason, state.registry.all.filter { $0.party == party }.map(\.id))
      }
    }
    for (party, reason, workers) in convicted {
      if let allowed, let text = party.keyText, let key = try? PublicKey(text) {
        quarantine(key, allowed, reason: reason)
      }
      for worker in workers {
        guard let route = sessions[worker]?.route else { continue }
        drop(worker, "was caught", isLoss: false)
        let words = "this worker was caught: \(reason)".bounded(toBytes: String.reasonByteCount)
        reply(.protocolError(reason: words), session: worker.value, to: route)
        ban(route)
      }
    }
  }

  /// Refuses a key from now on, also after a restart.
  func quarantine(_ key: PublicKey, _ allowed: AllowList, reason: String) {
    do { try allowed.quarantine(key, reason: reason.bounded(toBytes: 500)) } catch {
      logger.error("\(error); the key \(key) is refused until this process ends")
    }
  }
}

// What one party may cause, whatever it sends.
extension LearnerLoop {
  /// Parties that are remembered: without keys anybody may be as many as it likes.
  private static let budgetLimit = 16_384

  func withBudget<Result>(of party: Party, _ body: (inout PeerBudget) -> Result) -> Result {
    if budgets[party] == nil, budgets.count >= Self.budgetLimit { budgets = [:] }
    return body(&budgets[party, default: PeerBudget()])
  }

  /// Logs what a peer has caused, as far as its budget of lines goes.
  func log(_ level: Logger.Level, of party: Party?, _ message: @autoclosure () -> String) {
    guard level >= logger.logLevel else { return }
    guard let party else { return logger.log(level: level, "\(message())") }
    guard let before = withBudget(of: party, { $0.logLine(now: MonotonicClock.now()) }) else { return }
    let text = message().bounded(toBytes: 2000)
    logger.log(level: level, "\(text)\(before > 0 ? " (\(before) lines about this peer were not logged before)" : "")")
  }

  func log(_ level: Logger.Level, of worker: WorkerID, _ message: @autoclosure () -> String) {
    log(level, of: shared.state.withLock { $0.registry[worker]?.party }, message())
  }
}

// Messages: what leads nowhere is not heard for ever.
extension LearnerLoop {
  /// How often connections are looked at.
  static let connectionInterval: Duration = .milliseconds(50)
  /// How long a connection is not heard that has used up its budget.
  private static let muteTime: Duration = .seconds(1)

  /// Messages that the learner itself asked for, or that have budgets of their own.
  func isDue(_ message: Message, from worker: WorkerID) -> Bool {
    switch message {
    case .pullWeights: true
    // Judged first: an accepted one costs nothing.
    case .gradientChunk(let chunk): shared.gradients.state.withLock { $0.isArriving(chunk.leaseID, from: worker) }
    default: false
    }
  }

  /// Takes a message off its session's budget; without any left the connection is not heard for a second.
  func mayGoOn(_ worker: WorkerID, _ route: [UInt8]) -> Bool {
    let now = MonotonicClock.now()
    guard let session = sessions[worker] else { return false }
    var messages =
      session.messages
      ?? PeerBudget.messages(isRelay: shared.state.withLock { $0.registry[worker]?.isRelay } ?? false)
    let isWithin = messages.take(now: now)
    sessions[worker]?.messages = messages
    guard !isWithin else { return true }
    mute(route, now)
    log(
      .warning, of: session.party,
      "worker \(name(of: worker)) sends more than any worker has to say: it is not heard for a second")
    return false
  }

  /// An accepted sample brings what it and the next request took.
  func earned(_ worker: WorkerID) { sessions[worker]?.messages?.put(3) }

  /// The same for a connection without a session.
  func mayGoOn(strangerAt route: [UInt8]) -> Bool {
    guard let key = control.lastSenderKey() else { return true }
    let now = MonotonicClock.now()
    guard !withBudget(of: .key(key.text), { $0.stray(now: now) }) else { return true }
    mute(route, now)
    return false
  }

  func mute(_ route: [UInt8], _ now: Duration) { refused.mute(route, for: Self.muteTime, now: now) }

  /// Closes connections that send a message without an end: whoever does that with a key of the list is out.
  func closeOversized() {
    let now = MonotonicClock.now()
    guard now >= timers.nextConnectionCheck else { return }
    timers.nextConnectionCheck = now + Self.connectionInterval
    while publisher.nextEvent() != nil {}
    noteHandshakes()
    for connection in publisher.closeOversized(beyond: WireLimits.subscriberByteCount) {
      noteOversized(connection, "to the announcements", now)
    }
    let limit = limits.messageByteCount
    for connection in control.closeOversized(beyond: limit, together: 8 * limit) {
      guard connection.byteCount > limit, let route = connection.route else {
        noteOversized(connection, "", now)
        continue
      }
      castOut(
        route, WireError("a message of \(connection.byteCount) bytes had no end; the largest has \(limit)"),
        key: connection.key)
    }
  }

  /// Once a minute: nobody knows whose it was.
  private func noteOversized(_ connection: OversizedConnection, _ place: String, _ now: Duration) {
    shared.state.withLock { $0.counters.malformedMessages += 1 }
    guard faults.isDue(.oversized, now: now) else { return }
    logger.warning("a connection \(place) was closed: it sent \(connection.byteCount) bytes that were no whole message")
  }
}
