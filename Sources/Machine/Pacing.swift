import Glibc

/// Holds the thread that calls it to a `Pace`. Confined to that thread.
package final class Pacing {
  let pace: Pace
  package private(set) var keeper = PaceKeeper()

  package init(_ pace: Pace) { self.pace = pace }

  package func sampled(_ tokens: Int, began: Duration) {
    sleep(pace.effectiveTokens(tokens), pace.tokensPerSecond, began)
  }
  package func differentiated(_ rows: Int, began: Duration) { sleep(Double(rows), pace.rowsPerSecond, began) }
  package func rested() { keeper.rested() }

  private func sleep(_ amount: Double, _ rate: Double?, _ began: Duration) {
    guard let rate, amount > 0 else { return }
    let due = keeper.due(afterWork: amount, at: rate, began: began)
    var now = MonotonicClock.now()
    // The monotonic clock's own time as a deadline: a signal in between does not lengthen it.
    while now < due {
      let (seconds, attoseconds) = due.components
      var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil)
      now = MonotonicClock.now()
    }
    keeper.ended(at: now)
  }
}
