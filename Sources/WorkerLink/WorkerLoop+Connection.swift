import Machine
import Transport

// What the worker's I/O thread hears of its connection.
extension WorkerLoop {
  /// What happens below the messages: a connection that ends, and keys that do not fit, of which CURVE itself says nothing.
  func handle(_ event: ConnectionEvent) throws {
    switch event {
    case .connected: if connectionState != .broken { connectionState = .connected }
    case .ready: connectionState = .ready
    case .accepted: break
    case .disconnected: connectionState = connectionState == .ready ? .nothing : .broken
    default: connectionState = .broken
    }
    switch event {
    case .connected, .accepted: break
    case .ready:
      provenAttachments.insert(attachment)
      brokenHandshakes = 0
      // Somebody is there now. (After a lost session the pause is meant: many workers lose it at once.)
      if session == nil, isHelloUnheard { nextHello = MonotonicClock.now() }
    case .disconnected:
      if session != nil { try reconnect("the connection was closed", elsewhere: true) }
    case .keyRefused:
      complain(
        "the learner at \(endpoint) refuses this worker's key \(ownKey); add the line \"\(ownKey) \(options.workerName)\" to "
          + "its authorized workers (learner.authorized_workers): it is let in within seconds. Or give this worker a --key "
          + "that is there")
    case .keyQuarantined:
      complain(
        "the learner at \(endpoint) refuses this worker's key \(ownKey): its holder broke the protocol before. See the "
          + "learner's log; start the learner again (--resume), or give this worker a new key")
    case .mechanismMismatch:
      complain(
        security.isNone
          ? "the learner at \(endpoint) asks for keys and this worker has none: give --keys, or --key and --server-key"
          : "the learner at \(endpoint) works without keys and this worker has some: start the learner with --keys, or this "
            + "worker with --insecure and without keys")
    case .handshakeEnded(let isClosedByPeer):
      guard session == nil else { break }
      // A link that breaks, or a learner that restarts, looks much the same: only what has never been let in has probably the
      // wrong keys.
      brokenHandshakes += 1
      guard isClosedByPeer || security.isNone, !provenAttachments.contains(attachment), brokenHandshakes >= 3 else {
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
    let now = MonotonicClock.now()
    if let last = lastRefusal, last.reason == reason, now - last.at < options.waitingNotice { return }
    lastRefusal = (reason, now)
    lastNotice = now
    logger.error("\(reason)")
  }
}
