import Kernels
import Logging
import Machine
import Transport
import WeightSync

/// Applies deltas on a thread of its own: neither the I/O thread nor the sampler's waits for it.
package final class WeightApplier {
  package struct Outcome: Sendable {
    package var number: Int
    package var result: Result<WeightSnapshot, WeightSyncError>
    var seconds: Double
  }

  private enum Order: Sendable {
    case apply(WeightPull.ApplyJob)
    case end
  }

  private let orders = Mailbox<Order>()
  private let outcomes = Mailbox<Outcome>()
  private let threads: Int
  private let before: (@Sendable () -> Void)?
  private let waker: Waker
  private var thread: IOThread?

  /// - Parameters:
  ///   - threads: take sections of the weights, only while there is a delta to be applied.
  ///   - before: called on the thread before each job. For tests.
  ///   - waker: is called when there is an outcome.
  package init(threads: Int, before: (@Sendable () -> Void)? = nil, waker: Waker) {
    self.threads = threads
    self.before = before
    self.waker = waker
  }

  deinit { orders.put(.end) }

  /// - Throws: `TransportError` when there is no thread to be had.
  package func start(_ job: WeightPull.ApplyJob) throws {
    orders.put(.apply(job))
    if thread != nil { return }
    let (orders, outcomes, waker, threads, before) = (orders, outcomes, waker, threads, before)
    thread = try IOThread(name: "weights") {
      let team = ThreadTeam(threadCount: threads)
      while true {
        guard let order = orders.take(within: .seconds(3600)) else { continue }
        guard case .apply(let job) = order else { return }
        before?()
        let start = MonotonicClock.now()
        let result = Result { () throws(WeightSyncError) in
          do { return try job.parent.applying(job.deltas, to: job.target, team: team) } catch {
            throw error as? WeightSyncError ?? WeightSyncError("\(error)")
          }
        }
        let (seconds, attoseconds) = (MonotonicClock.now() - start).components
        outcomes.put(
          Outcome(number: job.number, result: result, seconds: Double(seconds) + Double(attoseconds) * 1e-18))
        waker.wake()
      }
    }
  }

  package func takeOutcomes() -> [Outcome] { outcomes.takeAll() }
}
