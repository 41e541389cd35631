import Coordination
import Logging
import Machine
import Transport
import Wire

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

  func isMuted(_ route: [UInt8]) -> Bool {
    guard !muted.isEmpty, let until = muted[route] else { return false }
    if MonotonicClock.now() < until { return true }
    muted[route] = nil
    return false
  }

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
    if messageBudgets[worker] == nil {
      let isRelay = shared.state.withLock { $0.registry[worker]?.isRelay } ?? false
      messageBudgets[worker] = PeerBudget.messages(isRelay: isRelay)
    }
    guard !messageBudgets[worker]!.take(now: now) else { return true }
    mute(route, now)
    log(
      .warning, of: parties[worker],
      "worker \(name(of: worker)) sends more than any worker has to say: it is not heard for a second")
    return false
  }

  /// An accepted sample brings what it and the next request took.
  func earned(_ worker: WorkerID) { messageBudgets[worker]?.put(3) }

  /// The same for a connection without a session.
  func mayGoOn(strangerAt route: [UInt8]) -> Bool {
    guard let key = control.lastSenderKey() else { return true }
    let now = MonotonicClock.now()
    guard !withBudget(of: .key(key.text), { $0.stray(now: now) }) else { return true }
    mute(route, now)
    return false
  }

  func mute(_ route: [UInt8], _ now: Duration) {
    if muted.count >= 1024 { muted = muted.filter { now < $0.value } }
    muted[route] = now + Self.muteTime
  }

  /// Closes connections that send a message without an end: whoever does that with a key of the list is out.
  func closeOversized() {
    let now = MonotonicClock.now()
    guard now >= nextConnectionCheck else { return }
    nextConnectionCheck = now + Self.connectionInterval
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
    shared.state.withLock { $0.malformedMessages += 1 }
    if let last = oversizedLogged, now - last < .seconds(60) { return }
    oversizedLogged = now
    logger.warning("a connection \(place) was closed: it sent \(connection.byteCount) bytes that were no whole message")
  }
}
