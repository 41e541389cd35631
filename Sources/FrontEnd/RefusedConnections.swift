/// Connections whose frames are not read: for a while, because they used up what they may send, or for good, because they broke the
/// rules. Bounded. Pure.
struct RefusedConnections {
  private static let limit = 1024
  private var muted: [[UInt8]: Duration] = [:]
  private var outcasts: Set<[UInt8]> = []
  /// The same in order: the oldest are forgotten first.
  private var outcastsByAge: [[UInt8]] = []

  mutating func isRefused(_ route: [UInt8], now: @autoclosure () -> Duration) -> Bool {
    if outcasts.contains(route) { return true }
    guard !muted.isEmpty, let until = muted[route] else { return false }
    if now() < until { return true }
    muted[route] = nil
    return false
  }

  mutating func mute(_ route: [UInt8], for time: Duration, now: Duration) {
    if muted.count >= Self.limit { muted = muted.filter { now < $0.value } }
    muted[route] = now + time
  }

  mutating func ban(_ route: [UInt8]) {
    guard outcasts.insert(route).inserted else { return }
    outcastsByAge.append(route)
    if outcastsByAge.count > Self.limit { outcasts.remove(outcastsByAge.removeFirst()) }
  }
}

/// What anybody on the network can cause is logged once a minute. Pure.
struct FaultLog {
  enum Kind { case handshake, refusedRelay, oversized }

  private var logged: [Kind: Duration] = [:]
  private(set) var failedHandshakes = 0

  mutating func countHandshake() { failedHandshakes += 1 }

  mutating func isDue(_ kind: Kind, now: Duration) -> Bool {
    if let last = logged[kind], now - last < .seconds(60) { return false }
    logged[kind] = now
    return true
  }
}
