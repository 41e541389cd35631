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
  /// Where this worker may attach, and which of them it is trying or using.
  let attachments: [(endpoint: Endpoint, security: SocketSecurity)]
  var attachment = 0
  let lookup: HostLookup
  /// The connection that is open, or that waits for its address.
  var reach = Reach()
  /// Those whose handshake was completed once: their keys are right.
  var provenAttachments: Set<Int> = []
  /// In a row, at this attachment.
  var brokenHandshakes = 0
  let context: TransportContext
  let limits = WireLimits()
  var incarnation: UInt64 { shared.incarnation }
  var waitingSince = MonotonicClock.now()
  var dealer: Socket
  var outbox = Outbox()
  var lastRefusal: (reason: String, at: Duration)?
  var subscriber: Socket
  var subscribedTo: String?
  var session: WorkerSession?
  var learnerIncarnation: UInt64?
  var backoff: Backoff
  var nextHello: Duration = .zero
  var isHelloUnheard = false
  var connectionState = ConnectionState.nothing
  var connectionOpened: Duration
  var lastNotice: Duration
  var hasLoggedWaiting = false
  var work = HeldWork()
  var gradients = HeldGradients()
  var weights: WeightPull
  let applier: WeightApplier
  var deliveredVersion: Digest?
  var deliveredBase: Digest?
  var deliveredReference: Digest?
  /// It was said that the link is too narrow for the versions.
  var saysNarrow = false
  /// The reference that there was no memory for: said once.
  var refusedReference: Digest?
  /// Credits with the learner and samples held: what may come without being asked for again.
  var promised = 0
  /// Given back, and not yet said.
  var returned: [ReturnedWork] = []
  /// Of a relay: what the last heartbeat said of those below.
  var reportedClasses: [GradientClass] = []
  /// The intermediate version that the last heartbeat named, and the one that the engine was given.
  var reportedGradientVersion: Int?
  var deliveredIntermediate: Digest?
  private(set) var isDraining = false
  var wayBack = WayBack()
  var hasEnded = false
  private var isAborted = false

  init(_ options: WorkerLinkOptions, shared: SharedWorkerLink, logger: Logger) throws {
    self.options = options
    self.shared = shared
    self.logger = logger
    attachments = try ([Attachment(endpoint: options.endpoint, security: options.security)] + options.alternatives).map
    {
      (try Endpoint($0.endpoint), $0.security)
    }
    weights = WeightPull(window: options.chunkWindow, takesReference: options.computesGradients)
    applier = WeightApplier(threads: options.threads, before: options.beforeApplying, waker: shared.waker)
    context = try TransportContext(threadPrefix: options.threadPrefix)
    lookup = HostLookup(waker: shared.waker, resolve: options.resolver)
    dealer = try Self.openDealer(context, limits, attachments[0].security)
    subscriber = try Self.openSubscriber(context, attachments[0].security)
    backoff = Backoff(first: options.firstRetry, ceiling: options.longestRetry)
    connectionOpened = MonotonicClock.now()
    lastNotice = connectionOpened
  }

  var endpoint: Endpoint { attachments[attachment].endpoint }
  var security: SocketSecurity { attachments[attachment].security }

  /// Not yet connected.
  static func openDealer(
    _ context: TransportContext, _ limits: WireLimits, _ security: SocketSecurity
  ) throws -> Socket {
    var options = Socket.Options()
    options.maximumFrameByteCount = Int64(limits.manifestByteCount)
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
      while !hasEnded { try turn() }
      if !isAborted { try finishSending() }
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
      guard !hasEnded, let frames = try dealer.receive() else { break }
      do {
        try handle(Envelope(decoding: frames, limits: limits))
      } catch let error as WireError {
        try reconnect("a malformed message from the learner: \(error)")
      } catch let error as WeightSyncError {
        try reconnect("\(error)")
      }
    }
    while let frames = try subscriber.receive() { try handleAnnouncement(frames) }
    do { try takeApplied() } catch let error as WeightSyncError { try reconnect("\(error)") }
    try obeyEngine()
    if !hasEnded { try keepTime() }
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
      promised -= unfinished.count
      try spendCredits()
    case .cancel(let leaseIDs, _, let reason):
      let (delivered, sampleCount) = work.cancel(leaseIDs)
      if sampleCount > 0 { logger.notice("\(sampleCount) samples were taken back: \(reason)") }
      if !delivered.isEmpty { shared.events.put(.cancelled(leaseIDs: delivered)) }
      promised -= sampleCount
      try spendCredits()
    case .heartbeat(let heartbeat):
      if let current = heartbeat.currentVersion { try announced(current, isAuthoritative: true) }
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
      hasEnded = true
    case .gradientVersion, .gradientGrant, .gradientTrajectory, .pullGradient, .gradientDone:
      try handleGradient(message)
    default:
      throw WireError("\(message.name) is not a learner's to send")
    }
  }

  func deliverLeases() throws {
    guard let version = weights.usable?.version, deliveredVersion != nil else { return }
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
      promised -= 1
      try send([.trajectoryResult(result)])
    }
    try giveBack()
    try obeyEngineOnGradients()
    try spendCredits()
    let (wantsDrain, ending, hasNews) = shared.state.withLock {
      (
        $0.wantsDrain, $0.ending,
        $0.gradientClasses != reportedClasses || $0.gradientVersion != reportedGradientVersion
      )
    }
    if session != nil, hasNews { try sendHeartbeat() }
    if wantsDrain, !isDraining {
      isDraining = true
      work.dropWaiting()
      try send([.drain(reason: "draining")])
    }
    switch ending {
    case .none: break
    case .goodbye(let reason):
      try send([.goodbye(reason: reason)])
      hasEnded = true
    case .abort:
      isAborted = true
      hasEnded = true
    }
  }

  func settle(_ count: Int) { shared.state.withLock { $0.settledCount += count } }

  func spendCredits() throws {
    guard session != nil, !isDraining, !wayBack.isReturning, weights.pace.narrowness == nil else { return }
    let credits = min(shared.state.withLock { $0.capacity } - promised, WorkerRegistry.maximumCredits)
    guard credits > 0 else { return }
    promised += credits
    try send([.requestWork(credits: credits)])
  }

  func sendHeartbeat() throws {
    let (speed, slots, classes, gradientVersion) = shared.state.withLock {
      ($0.tokensPerSecond, $0.activeSlots, $0.gradientClasses, $0.gradientVersion)
    }
    (reportedClasses, reportedGradientVersion) = (classes, gradientVersion)
    try send([
      .heartbeat(
        Heartbeat(
          leaseIDs: work.leaseIDs, tokensPerSecond: speed, activeSlots: slots,
          heldVersion: weights.usable?.version ?? -1, gradientLeaseIDs: gradients.leaseIDs,
          gradientClasses: classes,
          heldReference: deliveredReference == nil ? nil : weights.reference?.description.root.bytes,
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
    guard let id = session?.id, !outbox.isEmpty else { return }
    _ = try outbox.flush(session: id) { try dealer.send($0) }
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
