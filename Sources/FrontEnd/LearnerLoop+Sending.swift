import Coordination
import Machine
import Sessions
import Transport
import Wire

// What goes out: through a queue for each worker, of which the socket takes what the connection does.
extension LearnerLoop {
  /// Queues a message and sends what the socket takes.
  func send(_ message: Message, to worker: WorkerID) {
    guard outboxes[worker] != nil else { return }
    outboxes[worker]!.put(message)
    // What waits counts as said: it goes before any heartbeat would.
    shared.state.withLock { $0.registry.sent(to: worker, now: MonotonicClock.now()) }
    flush(worker)
  }

  /// Offers again what sockets did not take; not between any two messages, since a thousand workers may be waiting.
  func flushWaiting() {
    guard !waiting.isEmpty else { return }
    let now = MonotonicClock.now()
    guard now >= nextFlush else { return }
    nextFlush = now + .milliseconds(2)
    for worker in waiting { flush(worker) }
  }

  func flush(_ worker: WorkerID) {
    let state: Outbox.State
    do {
      guard let route = routes[worker],
        let flushed = try outboxes[worker]?.flush(session: worker.value, { try control.send([route] + $0) })
      else { return }
      state = flushed
    } catch {
      // Whose message it is that cannot be sent pays for it, and nobody else.
      return drop(worker, "a message to it cannot be sent: \(error)", isLoss: true)
    }
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
  func reply(_ message: Message, session: UInt64, to route: [UInt8]) {
    do { try control.send([route] + Envelope(session: session, message).encoded()) } catch {
      logger.error("an answer could not be sent: \(error)")
    }
  }
}
