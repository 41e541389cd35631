import Glibc
import Machine
import Sessions
import Synchronization
import Trajectories
import Transport

/// When each version was published: written by the trainer, read by the fleet's threads.
final class PublicationTimes: Sendable {
  private let times = Mutex<[Int: Duration]>([:])

  func note(_ version: Int) { times.withLock { $0[version] = MonotonicClock.now() } }
  func time(_ version: Int) -> Duration? { times.withLock { $0[version] } }
}

/// Synthetic workers on a few threads, each thread with a ZeroMQ context of its own.
final class SyntheticFleet: Sendable {
  struct Options: Sendable {
    var workers: Int
    var threads: Int
    var credits: Int
    var rate: Double?
    /// Worker n attaches to the n-th, counted round and round.
    var endpoints: [String]
    var segments: [Segment]
    /// One per worker; empty: no keys.
    var security: [SocketSecurity]
  }

  private struct State: Sendable {
    var counters: [FleetCounters]
    var isStopping = false
    var failure: String?
  }

  let publications = PublicationTimes()
  private let state: Mutex<State>
  private let threads = Mutex<[IOThread]>([])

  /// - Throws: `TransportError` when the system has no resources left.
  init(_ options: Options) throws {
    state = Mutex(State(counters: Array(repeating: FleetCounters(), count: options.threads)))
    for index in 0..<options.threads {
      let fleet = self
      let thread = try IOThread(name: "fleet-\(index)") { fleet.run(index, options) }
      threads.withLock { $0.append(thread) }
    }
  }

  /// What all threads did so far.
  /// - Throws: `RoleError` when one of them has failed.
  func counters() throws -> FleetCounters {
    try state.withLock { state in
      if let failure = state.failure { throw RoleError("a synthetic worker failed: \(failure)") }
      var sum = FleetCounters()
      for counters in state.counters {
        sum.joined += counters.joined
        sum.subscribed += counters.subscribed
        sum.sent += counters.sent
        sum.sentBytes += counters.sentBytes
        sum.acknowledged += counters.acknowledged
        sum.lost += counters.lost
        sum.latencies += counters.latencies
        sum.arrivals += counters.arrivals
      }
      return sum
    }
  }

  func stop() {
    state.withLock { $0.isStopping = true }
    for thread in threads.withLock({ $0 }) { thread.join() }
  }

  private func run(_ index: Int, _ options: Options) {
    do {
      let numbers = Array(stride(from: index, to: options.workers, by: options.threads))
      // A dealer and a subscriber each, and room for libzmq's own.
      let context = try TransportContext(maximumSocketCount: numbers.count * 2 + 16, threadPrefix: index + 1)
      let start = MonotonicClock.now()
      let workers = try numbers.map { number in
        try SyntheticWorker(
          name: "synthetic-\(number)", control: try Endpoint(options.endpoints[number % options.endpoints.count]),
          context: context,
          security: options.security.isEmpty ? .none : options.security[number], segments: options.segments,
          credits: options.credits, rate: options.rate, start: start + .microseconds(number * 200))
      }
      var counters = FleetCounters()
      while !state.withLock({ $0.isStopping }) {
        var isBusy = false
        let now = MonotonicClock.now()
        for worker in workers {
          if try worker.turn(now: now, published: publications.time, counters: &counters) { isBusy = true }
        }
        state.withLock { $0.counters[index] = counters }
        // A wake-up by descriptors would cost as much as looking at every worker does.
        if !isBusy { usleep(1000) }
      }
      for worker in workers { try worker.goodbye() }
      usleep(100_000)
    } catch {
      state.withLock { $0.failure = "\(error)" }
    }
  }
}
