/// One side's view of whether the other lives, and whether it owes a sign of life itself.
public struct Liveness: Sendable, Equatable {
  public let interval: Duration
  public let timeout: Duration
  public private(set) var lastHeard: Duration
  public private(set) var lastSent: Duration

  /// - Parameters:
  ///   - interval: longest silence of our own.
  ///   - timeout: silence of the other side after which it counts as gone.
  public init(interval: Duration, timeout: Duration, now: Duration) {
    self.interval = interval
    self.timeout = timeout
    lastHeard = now
    lastSent = now
  }

  public mutating func heard(now: Duration) { lastHeard = max(lastHeard, now) }
  public mutating func sent(now: Duration) { lastSent = max(lastSent, now) }
  public func owesBeat(now: Duration) -> Bool { now - lastSent >= interval }
  public func isLost(now: Duration) -> Bool { now - lastHeard >= timeout }
}
