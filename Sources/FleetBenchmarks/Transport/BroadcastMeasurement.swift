import FrontEnd
import Glibc
import Kernels
import Logging
import Machine
import ModelFiles
import Sessions
import Transport
import WeightSync
import Wire
import WorkerLink

/// How long a version takes from its publication until workers hold it: real links to a real front end over loopback, all in
/// this process.
public struct BroadcastMeasurement: Sendable {
  /// Of each worker, in no order.
  public var seconds: [Double]
  /// Bytes that the learner sent.
  public var wireBytes: Int
  /// User and system time of the learner's and all workers' threads together.
  public var cpuSeconds: Double
  /// Relays on the way, one after the other.
  public var depth = 0

  /// Brings workers to one version, publishes the next and waits for all of them.
  ///
  /// - Parameters:
  ///   - depth: relays between the learner and the workers, each below the one before.
  ///   - delta: from the one version to the next; nil: they pull the whole.
  ///   - patience: for each of the two versions.
  /// - Throws: `RoleError` when a worker does not get there in time, `TransportError`.
  public static func run(
    workers count: Int, depth: Int = 0, from first: WeightSnapshot, to second: WeightSnapshot, delta: WeightDelta?,
    model: ModelConfiguration, patience: Duration = .seconds(300)
  ) throws -> BroadcastMeasurement {
    let logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }
    var options = LearnerFrontEndOptions(runID: "bench", model: ModelDescription(model))
    options.controlEndpoint = "tcp://127.0.0.1:0"
    options.announcementEndpoint = "tcp://127.0.0.1:0"
    // Applying takes every processor; nobody is lost for that.
    options.livenessTimeout = .seconds(60)
    let frontEnd = try LearnerFrontEnd(options, logger: logger)
    var relays: [SyntheticRelays] = []
    defer {
      frontEnd.shutdown(reason: "measured", within: .seconds(10))
      for relay in relays { relay.join() }
    }
    try frontEnd.publish(first)
    var endpoint = frontEnd.controlEndpoint
    for _ in 0..<depth {
      relays.append(try SyntheticRelays(1, endpoint: endpoint, upstream: [], downstream: [], logger: logger))
      endpoint = relays.last?.endpoints.first ?? endpoint
    }
    let links = try (0..<count).map { index in
      try WorkerLink(
        WorkerLinkOptions(
          endpoint: endpoint, workerName: "worker-\(index)", threads: 1, fingerprint: "bench",
          capacity: 1), logger: logger)
    }
    try bring(first.version, links, patience)
    let before = frontEnd.statistics().counters.weightBytesSent
    let arrivals = Mailbox<UInt64>()
    let (start, processor) = (MonotonicClock.nanoseconds(), processorSeconds)
    let waiters = try links.map { link in
      try IOThread(name: "waiter") {
        if (try? hold(second.version, link, until: MonotonicClock.now() + patience)) == true {
          arrivals.put(MonotonicClock.nanoseconds())
        }
      }
    }
    try frontEnd.publish(second, delta: delta)
    for waiter in waiters { waiter.join() }
    let ends = arrivals.takeAll()
    guard ends.count == count else {
      throw RoleError(
        "\(count - ends.count) of \(count) workers did not get version \(second.version) in \(patience)")
    }
    return BroadcastMeasurement(
      seconds: ends.map { Double($0 - start) * 1e-9 },
      wireBytes: frontEnd.statistics().counters.weightBytesSent - before,
      cpuSeconds: processorSeconds - processor, depth: depth)
  }

  private static var processorSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  private static func bring(_ version: Int, _ links: [WorkerLink], _ patience: Duration) throws {
    let deadline = MonotonicClock.now() + patience
    for link in links where try !hold(version, link, until: deadline) {
      throw RoleError("a worker did not get version \(version) in \(patience)")
    }
  }

  private static func hold(_ version: Int, _ link: WorkerLink, until deadline: Duration) throws -> Bool {
    while MonotonicClock.now() < deadline {
      if case .weights(let snapshot) = try link.nextEvent(within: deadline - MonotonicClock.now()),
        snapshot.version == version
      {
        return true
      }
    }
    return false
  }
}
