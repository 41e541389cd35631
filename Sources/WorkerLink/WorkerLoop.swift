import Coordination
import Glibc
import Gradients
import Logging
import Machine
import Sessions
import Synchronization
import Transport
import WeightExchange
import WeightSync
import Wire

/// The worker's I/O thread: sessions, heartbeats, weights, results. Confined to its thread.
final class WorkerLoop {
  let options: WorkerLinkOptions
  let shared: SharedWorkerLink
  let logger: Logger
  let context: TransportContext
  let lookup: HostLookup
  var places: Places
  /// Of the time without a session.
  var waiting: Waiting
  var wayBack = WayBack()
  var dealer: Socket
  var outbox = Outbox()
  var subscriber: Socket
  var subscribedTo: String?
  var session: WorkerSession?
  var work = HeldWork()
  var gradients = HeldGradients()
  var weights: WeightPull
  let applier: WeightApplier
  var told = Told()
  private(set) var isDraining = false
  var ending = Ending.none

  enum Ending { case none, inOrder, abrupt }

  init(_ options: WorkerLinkOptions, shared: SharedWorkerLink, logger: Logger) throws {
    self.options = options
    self.shared = shared
    self.logger = logger
    places = Places(
      try ([Attachment(endpoint: options.endpoint, security: options.security)] + options.alternatives).map {
        (try Endpoint($0.endpoint), $0.security)
      })
    weights = WeightPull(window: options.chunkWindow, takesReference: options.computesGradients)
    applier = WeightApplier(threads: options.threads, before: options.beforeApplying, waker: shared.waker)
    context = try TransportContext(threadPrefix: options.threadPrefix)
    lookup = HostLookup(waker: shared.waker, resolve: options.resolver)
    dealer = try Self.openDealer(context, places.first.security)
    subscriber = try Self.openSubscriber(context, places.first.security)
    waiting = Waiting(options, now: MonotonicClock.now())
  }

  var incarnation: UInt64 { shared.incarnation }
  var endpoint: Endpoint { places.endpoint }
  var security: SocketSecurity { places.security }
  static var limits: WireLimits { WireLimits() }

  /// Not yet connected.
  static func openDealer(
    _ context: TransportContext, _ security: SocketSecurity
  ) throws -> Socket {
    var options = Socket.Options()
    options.maximumFrameByteCount = Int64(Self.limits.manifestByteCount)
    // Short: what does not fit waits in the outbox, where a heartbeat can overtake results.
    options.sendHighWaterMark = 16
    options.linger = .milliseconds(500)
    options.security = security
    options.isMonitored = true
    return try Socket(.dealer, context: context, options: options)
  }

  static func openSubscriber(_ context: TransportContext, _ security: SocketSecurity) throws -> Socket {
    var options = Socket.Options()
    options.maximumFrameByteCount = 1 << 20
    options.security = security
    let socket = try Socket(.subscriber, context: context, options: options)
    try socket.subscribe("version")
    return socket
  }

  func run() {
    do {
      while ending == .none { try turn() }
      if ending == .inOrder { try finishSending() }
    } catch {
      logger.critical("the worker's I/O thread ends: \(error)")
      shared.state.withLock { $0.failure = "\(error)" }
    }
    shared.events.close()
  }

  private func turn() throws {
    let patience = (session?.liveness.interval ?? options.firstRetry) / 2
    try poll(dealer, subscriber, waker: shared.waker, timeout: patience, wantsToSend: !outbox.isEmpty)
    while let event = dealer.nextEvent() { try handle(event) }
    try flush()
    for _ in 0..<256 {
      guard ending == .none, let frames = try dealer.receive() else { break }
      do {
        try handle(Envelope(decoding: frames, limits: Self.limits))
      } catch let error as WireError {
        try reconnect("a malformed message from the learner: \(error)")
      } catch let error as WeightSyncError {
        try reconnect("\(error)")
      } catch {
        // What a message leads to is no reason for the thread to end: the next session starts from what is known.
        try reconnect("a message of the learner could not be followed: \(error)")
      }
    }
    while let frames = try subscriber.receive() { try handleAnnouncement(frames) }
    do { try takeApplied() } catch let error as WeightSyncError { try reconnect("\(error)") }
    try obeyEngine()
    if ending == .none { try keepTime() }
  }

  // MARK: Session

  private func keepTime() throws {
    let now = MonotonicClock.now()
    guard let session else { return try knock(now) }
    if session.liveness.isLost(now: now) {
      return try reconnect("the learner has been silent for \(session.liveness.timeout)", elsewhere: true)
    }
    if weights.isStalled(now: now, patience: session.liveness.timeout) {
      logger.warning("no weights for \(session.liveness.timeout); asking again")
      try send(weights.resume(now: now))
    }
    if session.liveness.owesBeat(now: now) { try sendHeartbeat() }
    try lookBack(now)
  }

  // MARK: Messages

  func handleInSession(_ message: Message) throws {
    let now = MonotonicClock.now()
    switch message {
    case .grant(let leases):
      for lease in leases where !isDraining && !wayBack.isReturning && !work.add(lease) {
        logger.warning("lease \(lease.id) was granted twice")
      }
      try deliverLeases()
      try giveBackWaiting()
    case .cancel(let leaseIDs, let sampleIndices, let reason) where !sampleIndices.isEmpty:
      let id = leaseIDs[0]
      let (unfinished, isDelivered) = work.cancel(id, samples: sampleIndices)
      if !unfinished.isEmpty {
        logger.debug("samples \(unfinished) of lease \(id) were taken back: \(reason)")
        if isDelivered { shared.events.put(.cancelledSamples(leaseID: id, sampleIndices: unfinished)) }
      }
      try spendCredits()
    case .cancel(let leaseIDs, _, let reason):
      let (delivered, sampleCount) = work.cancel(leaseIDs)
      if sampleCount > 0 { logger.notice("\(sampleCount) samples were taken back: \(reason)") }
      if !delivered.isEmpty { shared.events.put(.cancelled(leaseIDs: delivered)) }
      try spendCredits()
    case .heartbeat(let heartbeat):
      if let current = heartbeat.currentVersion { try announced(current, isAuthoritative: true) }
      if options.isRelay, !heartbeat.caughtWorkers.isEmpty {
        shared.events.put(.caught(workers: heartbeat.caughtWorkers))
      }
    case .resultAcknowledgement(let acknowledgement):
      let known = work.acknowledge(leaseID: acknowledgement.leaseID, sampleIndex: acknowledgement.sampleIndex)
      if known != nil { settle(1) }
      if known != nil, acknowledgement.verdict != .accepted {
        // Hedging has duplicates every day.
        logger.log(
          level: acknowledgement.verdict == .duplicate ? .debug : .notice,
          "sample \(acknowledgement.sampleIndex) of lease \(acknowledgement.leaseID): \(acknowledgement.verdict)")
      }
    case .versionAnnouncement(let announcement):
      try announced(announcement, isAuthoritative: true)
    case .weightPlan(let plan):
      try pulling(weights.receive(plan, now: now))
    case .manifest(let manifest):
      try pulling(weights.receive(manifest, now: now, logger: logger))
    case .weightsChunk(let chunk):
      try pulling(weights.receive(chunk, now: now, logger: logger))
    case .weightsUnavailable(let version, let isDelta):
      try pulling(weights.unavailable(version: version, isDelta: isDelta, now: now, logger: logger))
    case .drain(let reason):
      logger.info("the learner asks to drain: \(reason)")
      shared.events.put(.drain(reason: reason))
    case .shutdown(let reason):
      logger.info("the run is over: \(reason)")
      try send([.goodbye(reason: "shut down")])
      shared.events.put(.shutdown(reason: reason))
      ending = .inOrder
    case .gradientVersion, .gradientGrant, .gradientTrajectory, .pullGradient, .gradientDone:
      try handleGradient(message)
    default:
      throw WireError("\(message.name) is not a learner's to send")
    }
  }

  func deliverLeases() throws {
    guard let version = weights.usable?.version, told.version != nil else { return }
    for lease in work.deliverable(with: version) { shared.events.put(.lease(lease)) }
    try deliverGradients(version)
  }

  // MARK: Engine

  private func obeyEngine() throws {
    for result in shared.results.takeAll() {
      guard work.finish(result) else {
        logger.debug("sample \(result.sampleIndex) of lease \(result.leaseID) is not wanted any longer")
        settle(1)
        continue
      }
      try send([.trajectoryResult(result)])
    }
    try giveBack()
    try obeyEngineOnGradients()
    try spendCredits()
    let (wantsDrain, wish, hasNews) = shared.state.withLock {
      (
        $0.wantsDrain, $0.ending,
        $0.gradientClasses != told.gradientClasses || $0.gradientVersion != told.gradientVersion
      )
    }
    if session != nil, hasNews { try sendHeartbeat() }
    if wantsDrain, !isDraining {
      isDraining = true
      work.dropWaiting()
      try send([.drain(reason: "draining")])
    }
    switch wish {
    case .none: break
    case .goodbye(let reason):
      try send([.goodbye(reason: reason)])
      ending = .inOrder
    case .abort: ending = .abrupt
    }
  }

  func settle(_ count: Int) { shared.state.withLock { $0.settledCount += count } }

  func spendCredits() throws {
    guard session != nil, !isDraining, !wayBack.isReturning, weights.pace.narrowness == nil else { return }
    let credits = work.takeCredits(capacity: shared.state.withLock { $0.capacity })
    if credits > 0 { try send([.requestWork(credits: credits)]) }
  }

  func sendHeartbeat() throws {
    let (speed, slots, classes, gradientVersion) = shared.state.withLock {
      ($0.tokensPerSecond, $0.activeSlots, $0.gradientClasses, $0.gradientVersion)
    }
    (told.gradientClasses, told.gradientVersion) = (classes, gradientVersion)
    try send([
      .heartbeat(
        Heartbeat(
          leaseIDs: work.leaseIDs, tokensPerSecond: speed, activeSlots: slots,
          heldVersion: weights.usable?.version ?? -1, gradientLeaseIDs: gradients.leaseIDs,
          gradientClasses: classes,
          heldReference: told.reference == nil ? nil : weights.reference?.description.root.bytes,
          heldGradientVersion: gradientVersion,
          narrowLinkBytesPerSecond: weights.pace.narrowness.map { Int(min($0.bytesPerSecond, 1e14)) + 1 } ?? 0))
    ])
  }

  /// Queues messages and sends what the connection takes; a lost one is noticed by its events, a silent one by its liveness.
  func send(_ messages: [Message]) throws {
    guard session != nil, !messages.isEmpty else { return }
    for message in messages { outbox.put(message) }
    session!.liveness.sent(now: MonotonicClock.now())
    try flush()
  }

  private func flush() throws {
    guard let id = session?.id else { return }
    while !outbox.isEmpty {
      do {
        _ = try outbox.flush(session: id) { try dealer.send($0) }
        return
      } catch let error as WireError {
        // It would stand before all others for ever. Its lease expires, and somebody else does the work.
        logger.error("a message to the learner cannot be sent and is dropped: \(error)")
        outbox.dropNext()
      }
    }
  }

  /// What is queued at the end, a goodbye among it, gets a moment to leave.
  private func finishSending() throws {
    let deadline = MonotonicClock.now() + .milliseconds(500)
    while session != nil, !outbox.isEmpty, MonotonicClock.now() < deadline {
      try poll(dealer, waker: shared.waker, timeout: .milliseconds(20), wantsToSend: true)
      while let event = dealer.nextEvent() { if event == .disconnected { return } }
      try flush()
    }
  }
}
