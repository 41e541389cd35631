import Gradients
import Logging
import Machine
import Sessions
import Synchronization
import Transport
import WeightSync
import Wire

/// What the engine's thread and the I/O thread share.
final class SharedWorkerLink: Sendable {
  enum Ending: Sendable {
    case none
    case goodbye(String)
    /// Without a word, as when the process is killed.
    case abort
  }

  struct State: Sendable {
    var tokensPerSecond = 0.0
    var activeSlots = 0
    var wantsDrain = false
    var ending = Ending.none
    var isConnected = false
    /// Results handed over, and those of them that are acknowledged or not wanted any longer.
    var sentCount = 0
    var settledCount = 0
    /// Samples that the worker wants to hold at once.
    var capacity: Int
    /// Of a relay: who below it computes gradients.
    var gradientClasses: [GradientClass] = []
    /// The intermediate version that the engine is ready to compute gradients with.
    var gradientVersion: Int?
    /// What the newest version came by.
    var deltas: [WeightDelta] = []
    var failure: String?
  }

  let state: Mutex<State>
  /// Random per process.
  let incarnation: UInt64
  let waker: Waker
  let events = Mailbox<WorkerEvent>()
  let results = Mailbox<TrajectoryResult>()
  let gradients = Mailbox<GradientOutcome>()
  let returns = Mailbox<ReturnedWork>()
  /// Nobody ever puts anything here: for waiting.
  let never = Mailbox<Void>()

  init(capacity: Int, incarnation: UInt64 = .random(in: 1...UInt64.max)) throws {
    self.incarnation = incarnation
    state = Mutex(State(capacity: capacity))
    waker = try Waker()
  }
}

/// A worker's side of the cluster: finds the learner, keeps the session alive, fetches weights ahead of need, brings leases
/// and takes results. Every method may be called from any thread; one engine thread is expected.
///
///     let link = try WorkerLink(options, logger: logger)
///     while let event = try link.nextEvent(within: .seconds(3600)) {
///       switch event {
///       case .joined(let welcome): …allocate welcome.model…
///       case .weights(let snapshot): …load…
///       case .lease(let lease): …sample, then: try link.send(result)…
///       case .cancelled(let leaseIDs): …forget them…
///       case .disconnected: break
///       case .drain: …finish, then: link.close(reason: "drained")…
///       case .shutdown: return
///       }
///     }
public final class WorkerLink: Sendable {
  private let shared: SharedWorkerLink
  private let thread: IOThread

  /// Starts the I/O thread; the learner need not exist yet.
  /// - Throws: `TransportError` for an endpoint that cannot be one, `RoleError` for options that cannot be sent.
  public init(_ options: WorkerLinkOptions, logger: Logger) throws {
    guard (0...65_536).contains(options.capacity) else {
      throw RoleError("the worker's capacity of \(options.capacity) samples must be in 0...65536")
    }
    guard (1...64).contains(options.chunkWindow) else {
      throw RoleError("the chunk window of \(options.chunkWindow) must be in 1...64")
    }
    let hello = Hello(
      workerName: options.workerName, incarnation: 1, hostname: "", processID: 1, threads: options.threads,
      fingerprint: options.fingerprint, float32Fingerprint: options.float32Fingerprint)
    do { _ = try Envelope(.hello(hello)).encoded() } catch {
      throw RoleError("the worker cannot introduce itself: \(error)")
    }
    let shared = try SharedWorkerLink(capacity: options.capacity)
    self.shared = shared
    let loop = try WorkerLoop(options, shared: shared, logger: logger)
    thread = try IOThread(name: "worker-io") { loop.run() }
  }

  deinit { end(.goodbye("the worker ends"), wait: false) }

  /// Whether there is a session with the learner now.
  public var isConnected: Bool { shared.state.withLock { $0.isConnected } }

  /// Waits for the next event.
  /// - Returns: `nil` when there was none in time, or ever will be (after `shutdown` or `close`).
  /// - Throws: `RoleError` when the link has broken for good.
  public func nextEvent(within duration: Duration) throws -> WorkerEvent? {
    if let event = shared.events.take(within: duration) { return event }
    if let failure = shared.state.withLock({ $0.failure }) { throw RoleError(failure) }
    return nil
  }

  /// Hands over a finished sample. It is kept until the learner acknowledges it, across reconnections; results of cancelled
  /// leases are dropped.
  /// - Throws: `WireError` when the result cannot be sent (a number that is not finite, lengths that disagree).
  public func send(_ result: TrajectoryResult) throws {
    try result.validate()
    shared.state.withLock { $0.sentCount += 1 }
    shared.results.put(result)
    shared.waker.wake()
  }

  /// Hands over a gradient, or a lease that is not to be computed here. A gradient is kept until the learner has it or does
  /// not need it any longer.
  /// - Throws: `WireError` when it cannot be sent.
  package func send(_ outcome: GradientOutcome) throws {
    switch outcome {
    case .computed(let gradient): try gradient.ready.validate()
    case .declined(let id, let reason, let isNotFinite):
      _ = try Envelope(.gradientDeclined(leaseID: id, reason: reason, isNotFinite: isNotFinite)).encoded()
    }
    shared.state.withLock { $0.sentCount += 1 }
    shared.gradients.put(outcome)
    shared.waker.wake()
  }

  /// What the next heartbeats tell the learner's dashboard.
  public func report(tokensPerSecond: Double, activeSlots: Int) {
    shared.state.withLock {
      $0.tokensPerSecond = tokensPerSecond.isFinite ? max(0, tokensPerSecond) : 0
      $0.activeSlots = min(max(0, activeSlots), 1 << 30)
    }
  }

  /// Names this process to the learner, and on the way to it.
  package var incarnation: UInt64 { shared.incarnation }

  /// How many samples to hold at once from here on. What is held beyond that is not given back by itself.
  package func setCapacity(_ capacity: Int) {
    let hasChanged = shared.state.withLock { state in
      let new = min(max(0, capacity), 65_536)
      defer { state.capacity = new }
      return state.capacity != new
    }
    if hasChanged { shared.waker.wake() }
  }

  /// Who below a relay computes gradients: said at once when it changes, and with every heartbeat.
  package func report(gradientClasses classes: [GradientClass]) {
    let hasChanged = shared.state.withLock { state in
      defer { state.gradientClasses = classes }
      return state.gradientClasses != classes
    }
    if hasChanged { shared.waker.wake() }
  }

  /// With which intermediate version gradients can be computed now: said at once, as the learner lends none before.
  package func report(gradientVersion version: Int?) {
    let hasChanged = shared.state.withLock { state in
      defer { state.gradientVersion = version }
      return state.gradientVersion != version
    }
    if hasChanged { shared.waker.wake() }
  }

  /// The deltas that a version came by; none when it came whole, or is not the newest any longer.
  package func deltas(to version: WeightSnapshot) -> [WeightDelta] {
    let deltas = shared.state.withLock { $0.deltas }
    return deltas.last?.description.identity == version.description.identity ? deltas : []
  }

  /// Gives samples back that are not going to be finished here.
  package func giveBack(_ work: ReturnedWork) {
    shared.returns.put(work)
    shared.waker.wake()
  }

  /// Takes nothing new from here on (SIGTERM); leases the engine has not seen yet go back. Finish the others, then `close`.
  public func drain() {
    shared.state.withLock { $0.wantsDrain = true }
    shared.waker.wake()
  }

  /// Says goodbye and ends the thread; what is not finished goes back to the learner's queue.
  /// - Parameter duration: how long to wait for results to be acknowledged first.
  /// - Returns: whether every result was acknowledged.
  @discardableResult
  public func close(reason: String, within duration: Duration = .zero) -> Bool {
    let deadline = MonotonicClock.now() + duration
    var isSettled = settled
    while !isSettled, MonotonicClock.now() < deadline {
      shared.waker.wake()
      // Nothing to wait on but the learner's word; look again soon.
      _ = shared.never.take(within: min(.milliseconds(20), max(.milliseconds(1), deadline - MonotonicClock.now())))
      isSettled = settled
    }
    end(.goodbye(reason.bounded(toBytes: String.reasonByteCount)), wait: true)
    return isSettled
  }

  private var settled: Bool { shared.state.withLock { $0.settledCount == $0.sentCount } }

  /// Ends without a word: what a learner sees when the process is killed. For tests.
  package func abort() { end(.abort, wait: true) }

  private func end(_ ending: SharedWorkerLink.Ending, wait: Bool) {
    shared.state.withLock { if case .none = $0.ending { $0.ending = ending } }
    shared.waker.wake()
    if wait { thread.join() }
  }
}
