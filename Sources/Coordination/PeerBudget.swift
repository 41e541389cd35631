/// A budget that fills with time: so much at once, and so much a second. Pure.
public struct TokenBucket: Sendable, Equatable {
  public let capacity: Double
  public let perSecond: Double
  private var level: Double
  private var last: Duration?

  public init(capacity: Double, perSecond: Double) {
    self.capacity = capacity
    self.perSecond = perSecond
    level = capacity
  }

  /// Takes `amount`, if there is as much.
  public mutating func take(_ amount: Double = 1, now: Duration) -> Bool {
    if let last, now > last { level = min(capacity, level + perSecond * ((now - last) / .seconds(1))) }
    last = max(last ?? now, now)
    guard level >= amount else { return false }
    level -= amount
    return true
  }
}

/// What one party may cause: lines in the log, sessions, and weights that it was sent before. Honest workers stay far below.
public struct PeerBudget: Sendable {
  private var lines = TokenBucket(capacity: 30, perSecond: 0.5)
  private var hellos = TokenBucket(capacity: 20, perSecond: 2)
  /// Chunks of weights beyond what the version has `pullFactor` times.
  private var chunks = TokenBucket(capacity: 64, perSecond: 64)
  private var pulled: (version: Int, isDelta: Bool, count: Int) = (-1, false, 0)
  private var unlogged = 0

  /// So often a version may be pulled before it is rationed: transfers break and begin anew.
  public static let pullFactor = 4

  public init() {}

  /// Whether a line may be logged, and how many were not before it; nil: it may not.
  public mutating func logLine(now: Duration) -> Int? {
    guard lines.take(now: now) else {
      unlogged += 1
      return nil
    }
    defer { unlogged = 0 }
    return unlogged
  }

  public mutating func hello(now: Duration) -> Bool { hellos.take(now: now) }

  /// Whether chunks of a version may be sent again.
  ///
  /// - Parameter total: chunks that the version has.
  public mutating func pull(version: Int, isDelta: Bool, count: Int, of total: Int, now: Duration) -> Bool {
    if pulled.version != version || pulled.isDelta != isDelta { pulled = (version, isDelta, 0) }
    pulled.count += count
    return pulled.count <= Self.pullFactor * total || chunks.take(Double(count), now: now)
  }
}
