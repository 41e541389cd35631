/// Units a second over the last readings of a counter, and the time that the rest will take.
public struct RateEstimator: Sendable {
  private var readings: [(count: Double, time: Double)] = []
  private let window: Int

  /// - Parameter window: readings that are looked back on; at least 1.
  public init(window: Int = 32) {
    precondition(window >= 1, "a rate needs a window of at least 1")
    self.window = window
  }

  /// Notes the counter's value at `time`, in seconds of any clock. A reading out of order starts anew.
  public mutating func note(count: Double, at time: Double) {
    if let last = readings.last, time < last.time || count < last.count { readings.removeAll() }
    readings.append((count, time))
    if readings.count > window + 1 { readings.removeFirst() }
  }

  /// `nil` until two readings differ in time.
  public var perSecond: Double? {
    guard let first = readings.first, let last = readings.last, last.time > first.time else { return nil }
    return (last.count - first.count) / (last.time - first.time)
  }

  /// Seconds until the counter reaches `total` at the present rate; `nil` when there is no rate.
  public func secondsUntil(_ total: Double) -> Double? {
    guard let last = readings.last, let perSecond, perSecond > 0 else { return nil }
    return max(0, total - last.count) / perSecond
  }
}
