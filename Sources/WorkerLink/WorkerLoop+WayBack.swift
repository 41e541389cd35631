import Coordination
import Transport
import Wire

/// A worker's way back to the place that its user named first: a learner's link should not stay as full as a relay's death has
/// made it.
struct WayBack {
  /// A second connection, to see whether somebody is there and takes the keys. It says nothing.
  final class Probe {
    let socket: Socket
    init(_ socket: consuming Socket) { self.socket = socket }
  }

  /// When to look next.
  var next: Duration?
  var probe: Probe?
  /// Nothing new is taken where the worker is; it goes when what it has is delivered.
  var isReturning = false
  var hasSaidGoodbye = false
}

extension WorkerLoop {
  /// Looks now and then whether the first place answers again, and goes there between two pieces of work: takes nothing new,
  /// finishes and delivers what there is, says Goodbye. A relay stays, for the sake of those below it.
  func lookBack(_ now: Duration) throws {
    guard attachment != 0, session != nil, !isDraining, !options.isRelay else {
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
        switch try lookup.ask(preferredEndpoint) {
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
      logger.notice("\(preferredEndpoint) answers again: going back there when what was begun here is delivered")
      wayBack.probe = nil
      wayBack.isReturning = true
      return try send([.drain(reason: "going back to \(preferredEndpoint)")])
    }
    if now >= next { wayBack.probe = nil }
  }

  private func leaveWhenDone(_ now: Duration) throws {
    guard work.sampleCount == 0, work.unacknowledged.isEmpty, gradients.leaseIDs.isEmpty else { return }
    if !wayBack.hasSaidGoodbye {
      wayBack.hasSaidGoodbye = true
      return try send([.goodbye(reason: "going back to \(preferredEndpoint)")])
    }
    guard hasSentEverything else { return }
    wayBack = WayBack()
    try attachToFirst()
  }
}
