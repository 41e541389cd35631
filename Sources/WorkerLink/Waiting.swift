import Coordination
import Transport

/// A worker's account of being without a session: when it says Hello next, how far its connection has come, and what it has
/// logged of that. Pure.
struct Waiting {
  /// How far the connection has come: what a waiting worker can say of the reason.
  enum Connection {
    case nothing
    /// The transport's connection stands.
    case connected
    /// One or more ended in their handshake.
    case broken
    /// The handshake is over, so something speaks ZeroMQ there.
    case ready
  }

  private var since: Duration
  private var connection = Connection.nothing
  private var opened: Duration
  private var nextHello: Duration = .zero
  /// The last Hello reached nobody.
  private var isHelloUnheard = false
  private var pauses: Backoff
  private var lastNotice: Duration
  private var hasLogged = false
  private var lastComplaint: (reason: String, at: Duration)?

  init(_ options: WorkerLinkOptions, now: Duration) {
    (since, opened, lastNotice) = (now, now, now)
    pauses = Backoff(first: options.firstRetry, ceiling: options.longestRetry)
  }

  enum Notice: Equatable {
    case first
    /// Seconds since the session was lost, or since the beginning.
    case again(Int64)
  }

  /// What is to be logged now.
  mutating func notice(every interval: Duration, _ now: Duration) -> Notice? {
    if now - lastNotice >= interval {
      lastNotice = now
      return .again((now - since).components.seconds)
    }
    defer { hasLogged = true }
    return hasLogged ? nil : .first
  }

  /// Whether a reason is to be logged: once, then as often as a waiting worker says that it waits.
  mutating func mayComplain(_ reason: String, every interval: Duration, _ now: Duration) -> Bool {
    if let last = lastComplaint, last.reason == reason, now - last.at < interval { return false }
    lastComplaint = (reason, now)
    lastNotice = now
    return true
  }

  mutating func openedConnection(_ now: Duration) { (connection, opened) = (.nothing, now) }

  /// How long the open connection has led to nothing.
  func patience(_ now: Duration) -> Duration { now - opened }

  func owesHello(_ now: Duration) -> Bool { now >= nextHello }
  /// - Parameter spread: 0 ... 1: many workers lose their session at once.
  mutating func saysHello(_ now: Duration, spread: Double) { nextHello = now + pauses.pause(spread: spread) }
  mutating func saidHello(isHeard: Bool) { isHelloUnheard = !isHeard }

  /// - Parameter hasSession: the event is of a connection that is in use.
  mutating func heard(_ event: ConnectionEvent, hasSession: Bool, _ now: Duration) {
    switch event {
    case .connected: if connection != .broken { connection = .connected }
    case .ready: connection = .ready
    case .accepted: break
    case .disconnected: connection = connection == .ready ? .nothing : .broken
    default: connection = .broken
    }
    // Somebody is there now. (After a lost session the pause is meant.)
    if event == .ready, !hasSession, isHelloUnheard { nextHello = now }
  }

  mutating func joined() {
    pauses.reset()
    lastComplaint = nil
  }

  /// There is no session any longer.
  /// - Parameters:
  ///   - isLost: there was one, and it ended without a word.
  ///   - spread: 0 ... 1; nil: the next Hello is due at once.
  mutating func begins(_ now: Duration, isLost: Bool, spread: Double?) {
    isHelloUnheard = false
    if isLost || spread == nil { since = now }
    if isLost { lastNotice = now }
    if let spread { saysHello(now, spread: spread) } else { nextHello = now }
  }

  /// Why nobody has welcomed the worker, as far as its connection tells.
  /// - Parameter failure: why the name of its place was not found.
  func whatIsMissing(at endpoint: Endpoint, failure: String?) -> String {
    switch connection {
    case .nothing:
      failure.map { "the name \(endpoint.host) is not found: \($0)" }
        ?? "no connection yet: it is not there, or the address is wrong, or a firewall is in the way"
    case .connected:
      "a connection, but no handshake: something else than a softgrpo learner or relay listens there, or it hangs"
    case .broken:
      "its connections end in the handshake: is it a control endpoint (learner.control_endpoint, relay --bind), and not another?"
    case .ready:
      "what listens there does not answer: is it a control endpoint (learner.control_endpoint, relay --bind)?"
    }
  }
}
