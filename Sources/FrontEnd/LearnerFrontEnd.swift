import Coordination
import Gradients
import Logging
import Machine
import Sessions
import Synchronization
import Trajectories
import Transport
import WeightSync
import Wire

/// What the trainer's thread and the I/O thread share.
final class SharedFrontEnd: Sendable {
  let state: Mutex<FrontEndState>
  let waker: Waker
  let gradients: SharedGradientExchange
  /// One element per completed group, and one at the end: wakes a waiting trainer.
  let signal = Mailbox<Void>()

  init(_ state: FrontEndState, gradients: GradientExchange) throws {
    self.state = Mutex(state)
    waker = try Waker()
    self.gradients = SharedGradientExchange(gradients, waker: waker)
  }
}

/// The learner's side of the cluster: leases work to whoever comes, collects each sample exactly once, serves weights.
/// Every method may be called from any thread.
///
///     let frontEnd = try LearnerFrontEnd(options, logger: logger)
///     try frontEnd.publish(WeightSnapshot(version: 0, byteCount: count) { … })
///     for step in 0..<steps {
///       try frontEnd.submit(groups(step))
///       let batch = try frontEnd.collect(groupCount: groupsPerStep, within: .seconds(600))
///       …update…
///       try frontEnd.publish(WeightSnapshot(version: step + 1, parent: identity, byteCount: count) { … })
///     }
///     frontEnd.shutdown(reason: "the run is complete", within: .seconds(10))
public final class LearnerFrontEnd: Sendable {
  /// Where workers connect, with the real port.
  public let controlEndpoint: String
  public let announcementEndpoint: String
  let options: LearnerFrontEndOptions
  let shared: SharedFrontEnd
  private let thread: IOThread

  /// Binds and starts the I/O thread.
  /// - Throws: `TransportError` when an endpoint cannot be bound, `RoleError` when the options cannot be sent to a worker.
  public init(_ options: LearnerFrontEndOptions, logger: Logger) throws {
    self.options = options
    guard options.livenessTimeout > options.heartbeatInterval, options.heartbeatInterval > .zero else {
      throw RoleError("the liveness timeout must be longer than the heartbeat interval, and both positive")
    }
    guard options.leaseDuration > options.heartbeatInterval else {
      throw RoleError("the lease duration must be longer than the heartbeat interval that renews leases")
    }
    // Both connections of a worker take a descriptor here.
    let descriptors = FileDescriptorLimit.raise()
    if descriptors < 4096 {
      logger.warning(
        "\(descriptors) open files are allowed: enough for about \(FileDescriptorLimit.workers(descriptors)) workers; for more, raise the limit (ulimit -n, or LimitNOFILE in a unit)"
      )
    }
    let context = try TransportContext(threadPrefix: options.threadPrefix)
    let limits = WireLimits(trajectoryByteCount: options.trajectoryByteLimit)
    var socketOptions = Socket.Options()
    socketOptions.maximumFrameByteCount = Int64(limits.frameByteCount)
    socketOptions.receiveHighWaterMark = 64
    // Short: what does not fit waits in the worker's outbox, where a heartbeat can overtake bulk.
    socketOptions.sendHighWaterMark = 256
    socketOptions.linger = .seconds(1)
    socketOptions.security = options.security
    // Before anything binds: a context without a handler lets every key in.
    var authentication: AuthenticationHandler?
    if case .server(_, let allowed) = options.security {
      authentication = try AuthenticationHandler(context: context, allowed: allowed, logger: logger)
    } else if case .client = options.security {
      throw RoleError("a learner's sockets need a server's keys, not a client's")
    }
    // Connections are watched with keys and without.
    socketOptions.isMonitored = true
    let control = try Socket(.router, context: context, options: socketOptions)
    controlEndpoint = try control.bind(Endpoint(options.controlEndpoint), allowInsecure: options.allowInsecure)
      .description
    let publisher = try Socket(.publisher, context: context, options: socketOptions)
    announcementEndpoint = try publisher.bind(
      Endpoint(options.announcementEndpoint), allowInsecure: options.allowInsecure
    ).description
    switch options.security {
    case .server(let keys, let allowed):
      logger.info("CURVE: this learner's key is \(keys.publicKey); \(allowed.count) workers are authorized")
    default:
      if options.allowInsecure {
        logger.warning(
          "INSECURE: \(controlEndpoint) is neither encrypted nor authenticated; anyone who reaches it can join")
      }
    }

    let learnerIncarnation = UInt64.random(in: 1...UInt64.max)
    do {
      _ = try Envelope(
        .welcome(
          options.welcome(learnerIncarnation, announcementEndpoint: announcementEndpoint, currentVersion: nil))
      ).encoded()
    } catch {
      throw RoleError("the run cannot be described to workers: \(error)")
    }
    let shared = try SharedFrontEnd(
      FrontEndState(
        table: LeaseTable(
          staleness: StalenessPolicy(maximum: options.maxStaleness), leaseDuration: options.leaseDuration,
          maximumLeaseDuration: options.maximumLeaseDuration, maximumLosses: options.maximumLosses,
          firstLeaseID: learnerIncarnation & ~0xFFFF_FFFF | 1),
        registry: WorkerRegistry(
          heartbeatInterval: options.heartbeatInterval, livenessTimeout: options.livenessTimeout)),
      gradients: GradientExchange(
        options: GradientExchange.Options(
          leaseDuration: options.leaseDuration, patience: options.livenessTimeout,
          learnerThreads: options.learnerThreads, isLearner: options.relay == nil),
        firstLeaseID: learnerIncarnation ^ 1 << 31 | 1))
    if options.relay != nil { shared.state.withLock { $0.relayed = RelayedWork() } }
    self.shared = shared
    let loop = LearnerLoop(
      options: options, shared: shared, control: control, publisher: publisher,
      authentication: authentication, announcementEndpoint: announcementEndpoint,
      learnerIncarnation: learnerIncarnation, logger: logger)
    thread = try IOThread(name: options.relay == nil ? "learner-io" : "relay-io") { loop.run() }
  }

  deinit {
    shared.state.withLock { $0.ending.finish() }
    shared.waker.wake()
  }

  /// Queues work. Groups are sampled in the order of their ordinals, under the version current when they are granted.
  /// - Throws: `RoleError` when a prompt does not fit the model or cannot be sent, `CoordinationError` when an ordinal was
  ///   used before; groups before the offending one are queued.
  public func submit(_ groups: [PromptGroup]) throws {
    try shared.state.withLock { state in
      for group in groups { try state.submit(group, model: options.model) }
    }
    shared.waker.wake()
  }

  /// Makes a version current and announces it. Samples that are too old now are dropped, counted and queued again.
  /// - Parameters:
  ///   - base: what the snapshot's adapters are merged into; it is served for as long as adapters are published.
  ///   - delta: from the version before, for workers that hold it; nil: they pull the whole.
  /// - Throws: `WeightSyncError` unless the version is newer than the current one, and base and delta are its own.
  public func publish(_ snapshot: WeightSnapshot, base: WeightSnapshot? = nil, delta: WeightDelta? = nil) throws {
    try publish(snapshot, base: base, deltas: delta.map { [$0] } ?? [])
  }

  /// - Parameter deltas: lead to the version one after the other: a relay's may have come by several.
  package func publish(_ snapshot: WeightSnapshot, base: WeightSnapshot?, deltas: [WeightDelta]) throws {
    let now = MonotonicClock.now()
    try shared.state.withLock { try $0.publish(snapshot, base: base, deltas: deltas, now: now) }
    shared.gradients.state.withLock { $0.passedOn = nil }
    shared.waker.wake()
  }

  /// Announces and serves deltas before the version that they lead to is here: a relay's.
  /// - Throws: `WeightSyncError` unless they lead on from the current version.
  package func publish(deltas: [WeightDelta], to target: VersionDescription) throws {
    try shared.state.withLock { try $0.publish(deltas: deltas, to: target) }
    shared.waker.wake()
  }

  /// Serves the frozen model of the KL term to workers that compute gradients, beside the versions.
  /// - Throws: `WeightSyncError` when it goes by another version number than the reference's.
  package func publish(reference: WeightSnapshot) throws {
    try shared.state.withLock { try $0.publish(reference: reference) }
    shared.waker.wake()
  }

  /// Ends a party's part in the run (docs/security.md).
  package func quarantine(_ party: Party, reason: String) {
    shared.state.withLock { _ = $0.quarantine(party, reason: reason) }
    shared.gradients.state.withLock { $0.exclude(party) }
    shared.waker.wake()
  }

  /// Has the missing samples of a group that was handed out sampled again.
  /// - Throws: `CoordinationError` when the group was never handed out.
  package func restore(_ group: PromptGroup, keeping kept: [CollectedTrajectory]) throws {
    try shared.state.withLock { try $0.restore(group, keeping: kept) }
    shared.waker.wake()
  }

  /// The version that was published last.
  public var currentVersion: WeightSnapshot? { shared.state.withLock { $0.versions.current } }

  /// Waits for the next complete group.
  /// - Parameter bound: only groups with smaller ordinals; the others stay where they are.
  /// - Returns: `nil` when none was completed in time.
  /// - Throws: `RoleError` when the front end has ended.
  public func nextGroup(within duration: Duration, below bound: Int = .max) throws -> CompletedGroup? {
    let deadline = MonotonicClock.now() + duration
    while true {
      let group = try shared.state.withLock { state in
        if let group = state.takeCompleted(below: bound) { return Optional(group) }
        if state.ending.isFinished {
          throw RoleError(state.ending.failure ?? "the learner's front end was shut down")
        }
        return nil
      }
      if let group { return group }
      let left = deadline - MonotonicClock.now()
      if left <= .zero { return nil }
      // Signals may be older than what they signalled: the state decides, in the next round.
      _ = shared.signal.take(within: left)
    }
  }

  /// Samples that were accepted since the last call, in the order in which they came. The first call returns none: from then on
  /// they are kept. A sample among them may become stale and be sampled again.
  package func takeArrivals() -> [CollectedTrajectory] {
    shared.state.withLock { $0.groups.takeArrivals() }
  }

  /// Waits for `groupCount` complete groups.
  /// - Parameters:
  ///   - progress: called about once a second with the number of groups so far and the cluster's state.
  /// - Returns: the groups by ordinal.
  /// - Throws: `RoleError` when the time is over; it says who was expected to do what. No group is lost: the next call
  ///   starts with what there is.
  public func collect(
    groupCount: Int, within duration: Duration,
    progress: (_ groups: Int, _ statistics: FleetStatistics) -> Void = { _, _ in }
  ) throws -> [CompletedGroup] {
    let deadline = MonotonicClock.now() + duration
    var groups: [CompletedGroup] = []
    while groups.count < groupCount {
      let left = deadline - MonotonicClock.now()
      guard left > .zero else {
        let statistics = statistics()
        shared.state.withLock { $0.groups.putBack(groups) }
        throw RoleError(
          "only \(groups.count) of \(groupCount) groups were completed within \(duration): \(statistics.workers.count) workers, "
            + "\(statistics.leasedSamples) samples leased, \(statistics.queuedSamples) queued. "
            + (statistics.workers.isEmpty
              ? "Start workers that connect to \(controlEndpoint)" : "See the workers' logs"))
      }
      if let group = try nextGroup(within: min(left, .seconds(1))) { groups.append(group) }
      progress(groups.count, statistics())
    }
    return groups.sorted { $0.ordinal < $1.ordinal }
  }

  /// Why its thread has ended, when it was not asked to.
  package var failure: String? { shared.state.withLock { $0.ending.failure } }

  public func statistics() -> FleetStatistics {
    var statistics = shared.state.withLock { $0.statistics }
    if case .server(_, let allowed) = options.security {
      statistics.refusedKeys = allowed.refusals
      statistics.quarantinedKeys = allowed.quarantinedCount
    }
    return statistics
  }

  /// Workers that help with gradients.
  package var gradients: SharedGradientExchange { shared.gradients }

  /// Ends without a word: what workers see when the process is killed. For tests.
  package func abort() {
    shared.state.withLock { $0.ending.finish() }
    shared.waker.wake()
    thread.join()
  }

  /// Ends the run: workers are told, their goodbyes awaited up to `duration`, the sockets closed.
  /// - Returns: whether every worker said goodbye in time.
  @discardableResult
  public func shutdown(reason: String, within duration: Duration) -> Bool {
    let text = reason.bounded(toBytes: String.reasonByteCount)
    shared.state.withLock { state in
      guard state.ending.announce(text) else { return }
      for worker in state.registry.all { state.outgoing.append((worker.id, .shutdown(reason: text))) }
    }
    shared.waker.wake()
    let deadline = MonotonicClock.now() + duration
    while !shared.state.withLock({ $0.ending.isFinished }), MonotonicClock.now() < deadline {
      _ = shared.signal.take(within: deadline - MonotonicClock.now())
    }
    let isClean = shared.state.withLock { state in
      defer { state.ending.finish() }
      return state.ending.isFinished && state.ending.failure == nil
    }
    shared.waker.wake()
    thread.join()
    return isClean
  }
}
