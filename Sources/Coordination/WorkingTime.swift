/// The time that a worker had for samples: while it computes a gradient it draws none, and that says nothing about it.
struct WorkingTime: Sendable, Equatable {
  private struct Pause: Sendable, Equatable {
    var start: Duration
    var end: Duration
  }

  /// Far more than there are in any sample's time.
  private static let limit = 256

  /// In order of time.
  private var pauses: [Pause] = []
  private(set) var pausedSince: Duration?

  mutating func pause(now: Duration) { if pausedSince == nil { pausedSince = now } }

  mutating func resume(now: Duration) {
    guard let start = pausedSince else { return }
    pausedSince = nil
    guard now > start else { return }
    pauses.append(Pause(start: start, end: now))
    if pauses.count > Self.limit { pauses.removeFirst(pauses.count - Self.limit) }
  }

  /// How much of the time from `start` to `now` was not a pause.
  func passed(since start: Duration, now: Duration) -> Duration {
    var passed = now - start
    if let pausedSince { passed -= now - max(start, pausedSince) }
    for pause in pauses.reversed() {
      if pause.end <= start { break }
      passed -= pause.end - max(start, pause.start)
    }
    return max(.zero, passed)
  }
}
