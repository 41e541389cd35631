import Coordination
import Logging
import Machine
import Synchronization
import Training
import Transport

/// What a learner's step needs of whoever helps with its gradient.
package protocol GradientFleet: AnyObject, Sendable {
  /// Offers a step's leaves.
  func begin(_ offer: GradientOffer)
  /// The next leaf for the learner itself; nil when all are taken.
  func takeLocal() -> Int?
  func finishLocal(_ leaf: Int, seconds: Double)
  func takeArrived() -> ArrivedGradient?
  /// What arrived was not usable: its leaves are the learner's.
  func reject(_ arrived: ArrivedGradient)
  /// Asks a party for nothing any longer.
  func exclude(_ party: Party)
  /// Gives the learner leaves that are out, if it would be sooner done with them.
  func takeOver()
  /// Waits until something arrives, at most so long.
  func wait(within duration: Duration)
  func end()
  /// Since the beginning.
  var totals: GradientTotals { get }
}

/// The front end's fleet: what the trainer's thread and the I/O thread share.
package final class SharedGradientExchange: GradientFleet {
  package let state: Mutex<GradientExchange>
  /// One element for every gradient that arrived, and when a worker was lost.
  package let signal = Mailbox<Void>()
  private let waker: Waker

  package init(_ exchange: GradientExchange, waker: Waker) {
    state = Mutex(exchange)
    self.waker = waker
  }

  package func begin(_ offer: GradientOffer) {
    state.withLock { $0.begin(offer) }
    waker.wake()
  }
  package func takeLocal() -> Int? { state.withLock { $0.takeLocal(now: MonotonicClock.now()) } }
  package func finishLocal(_ leaf: Int, seconds: Double) {
    state.withLock { $0.finishLocal(leaf, seconds: seconds) }
    // The learner's speed is known now, and with it what is worth lending.
    waker.wake()
  }
  package func takeArrived() -> ArrivedGradient? {
    let arrived = state.withLock { $0.takeArrived() }
    // There is room for another transfer.
    if arrived != nil { waker.wake() }
    return arrived
  }
  package func reject(_ arrived: ArrivedGradient) { state.withLock { $0.reject(arrived) } }
  package func exclude(_ party: Party) { state.withLock { $0.exclude(party) } }
  package func takeOver() {
    state.withLock { $0.takeOver(now: MonotonicClock.now()) }
    waker.wake()
  }
  package func wait(within duration: Duration) { _ = signal.take(within: duration) }
  package func end() {
    state.withLock {
      $0.noteLaggards(now: MonotonicClock.now())
      $0.end()
    }
    waker.wake()
  }
  package var totals: GradientTotals { state.withLock { $0.totals } }

  // MARK: A relay's

  /// Offers the leaves of a lease from above to those below.
  package func lend(_ offer: GradientOffer, as id: UInt64) {
    state.withLock { $0.lend(offer, as: id) }
    waker.wake()
  }
  package func reject(_ arrived: ArrivedGradient, isNotFinite: Bool) {
    state.withLock { $0.reject(arrived, isNotFinite: isNotFinite) }
    waker.wake()
  }
  /// Leases from above that nobody below is going to finish.
  package func failures() -> [(id: UInt64, failure: RoundFailure)] {
    defer { waker.wake() }
    return state.withLock { $0.failures(now: MonotonicClock.now()) }
  }
  package func end(_ id: UInt64) {
    state.withLock { $0.end(id) }
    waker.wake()
  }
}
