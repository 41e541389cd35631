/// When a run writes a checkpoint: every so many steps, and again soon after one that failed. Pure.
struct CheckpointSchedule {
  /// Seconds between attempts after one that failed.
  static let pause = 60.0

  /// Steps; 0: only at the end.
  let interval: Int
  /// That there is a checkpoint of, or that the run began with.
  private(set) var lastStep: Int
  private var failedAt: Double?

  init(interval: Int, lastStep: Int) {
    self.interval = interval
    self.lastStep = lastStep
  }

  /// - Parameter now: seconds of the monotonic clock.
  func isDue(at step: Int, now: Double) -> Bool {
    interval > 0 && step % interval == 0 || failedAt.map { now - $0 >= Self.pause } ?? false
  }

  mutating func succeeded(at step: Int) { (lastStep, failedAt) = (step, nil) }

  mutating func failed(now: Double) { failedAt = now }
}
