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

  /// Gives `amount` back, as far as it fits.
  public mutating func put(_ amount: Double) { level = min(capacity, level + amount) }

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
  private var pulled: [Weights: Int] = [:]
  /// Messages that lead nowhere, of connections without a session.
  private var strays = TokenBucket(capacity: 256, perSecond: 16)
  private var unlogged = 0

  private struct Weights: Hashable {
    var version: Int
    var isDelta: Bool
  }
  /// Versions and deltas that are remembered: more than are ever served.
  private static let pulledLimit = 4096

  /// What a session may send that is not due: a worker asks, heartbeats and repeats itself far less often.
  ///
  /// - Parameter isRelay: it speaks for many workers.
  public static func messages(isRelay: Bool) -> TokenBucket {
    isRelay ? TokenBucket(capacity: 131_072, perSecond: 8192) : TokenBucket(capacity: 2048, perSecond: 128)
  }

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
  /// - Parameters:
  ///   - total: chunks that the version has.
  ///   - sessions: that the party has: each may pull it once more.
  public mutating func pull(
    version: Int, isDelta: Bool, count: Int, of total: Int, sessions: Int = 1, now: Duration
  ) -> Bool {
    let name = Weights(version: version, isDelta: isDelta)
    if pulled[name] == nil, pulled.count >= Self.pulledLimit,
      let oldest = pulled.keys.min(by: { $0.version < $1.version })
    {
      pulled[oldest] = nil
    }
    pulled[name, default: 0] += count
    return pulled[name]! <= (Self.pullFactor + sessions - 1) * total || chunks.take(Double(count), now: now)
  }

  /// Whether a message of a connection without a session is answered.
  public mutating func stray(now: Duration) -> Bool { strays.take(now: now) }
}
