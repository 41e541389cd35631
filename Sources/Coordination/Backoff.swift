/// Growing pauses between attempts, spread by the caller's random number so that a fleet does not knock in step.
public struct Backoff: Sendable, Equatable {
  private let first: Duration
  private let ceiling: Duration
  private var next: Duration

  public init(first: Duration, ceiling: Duration) {
    self.first = first
    self.ceiling = max(first, ceiling)
    next = first
  }

  /// The pause before the next attempt.
  /// - Parameter spread: in 0 ..< 1; the pause is 0.75 to 1.25 times the nominal one.
  public mutating func pause(spread: Double) -> Duration {
    defer { next = min(ceiling, next * 2) }
    return next * (0.75 + 0.5 * spread)
  }

  public mutating func reset() { next = first }
}
