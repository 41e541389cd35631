import Coordination
import Glibc
import Logging
import Synchronization
import Transport
import WeightSync
import Wire

/// The worker's I/O thread: sessions, heartbeats, weights, results. Confined to its thread.
final class WorkerLoop {
  let options: WorkerLinkOptions
  let shared: SharedWorkerLink
  let logger: Logger
  /// Where this worker may attach, and which of them it is trying or using.
  private let attachments: [(endpoint: Endpoint, security: SocketSecurity)]
  var attachment = 0
  /// Those whose handshake was completed once: their keys are right.
  var provenAttachments: Set<Int> = []
  /// In a row, at this attachment.
  var brokenHandshakes = 0
  private let context: TransportContext
  let limits = WireLimits()
  private var incarnation: UInt64 { shared.incarnation }
  private var waitingSince = MonotonicClock.now()
  private var dealer: Socket
  private var outbox = Outbox()
  var lastRefusal: (reason: String, at: Duration)?
  private var subscriber: Socket
  private var subscribedTo: String?
  var session: WorkerSession?
  private var learnerIncarnation: UInt64?
  private var backoff: Backoff
  var nextHello: Duration = .zero
  var isHelloUnheard = false
  private var connectionOpened: Duration
  var lastNotice: Duration
  private var hasLoggedWaiting = false
  var work = HeldWork()
  var gradients = HeldGradients()
  var weights: WeightPull
  let applier: WeightApplier
  var deliveredVersion: Digest?
  var deliveredBase: Digest?
  var deliveredReference: Digest?
  /// The reference that there was no memory for: said once.
  var refusedReference: Digest?
  /// Credits with the learner and samples held: what may come without being asked for again.
  var promised = 0
  /// Given back, and not yet said.
  var returned: [ReturnedWork] = []
  /// Of a relay: what the last heartbeat said of those below.
  private var reportedClasses: [GradientClass] = []
  private(set) var isDraining = false
  var wayBack = WayBack()
  private var hasEnded = false
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
    applier = WeightApplier(threads: options.threads, waker: shared.waker)
    context = try TransportContext(threadPrefix: options.threadPrefix)
    dealer = try Self.openDealer(context, attachments[0].endpoint, limits, attachments[0].security)
    subscriber = try Self.openSubscriber(context, attachments[0].security)
    backoff = Backoff(first: options.firstRetry, ceiling: options.longestRetry)
    connectionOpened = MonotonicClock.now()
    lastNotice = connectionOpened
  }

  var endpoint: Endpoint { attachments[attachment].endpoint }
  var security: SocketSecurity { attachments[attachment].security }

  private static func openDealer(
    _ context: TransportContext, _ endpoint: Endpoint, _ limits: WireLimits, _ security: SocketSecurity
  ) throws -> Socket {
    var options = Socket.Options()
    options.maximumFrameByteCount = Int64(limits.manifestByteCount)
    // Short: what does not fit waits in the outbox, where a heartbeat can overtake results.
    options.sendHighWaterMark = 16
    options.linger = .milliseconds(500)
    options.security = security
    options.isMonitored = true
    let socket = try Socket(.dealer, context: context, options: options)
    try socket.connect(endpoint)
    return socket
  }

  private static func openSubscriber(_ context: TransportContext, _ security: SocketSecurity) throws -> Socket {
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

  /// Says Hello until somebody answers.
  private func knock(_ now: Duration) throws {
    if now - lastNotice >= options.waitingNotice {
      lastNotice = now
      logger.notice("waiting for the learner at \(endpoint) (\((now - waitingSince).components.seconds) s)")
    } else if !hasLoggedWaiting {
      hasLoggedWaiting = true
      logger.info("connecting to the learner at \(endpoint)")
    }
    let patience = attachments.count > 1 ? min(.seconds(3), options.handshakeTimeout) : options.handshakeTimeout
    if now - connectionOpened >= patience { try openConnection(elsewhere: true) }
    guard now >= nextHello else { return }
    nextHello = now + backoff.pause(spread: Double.random(in: 0..<1))
    let hello = Hello(
      workerName: options.workerName, incarnation: incarnation, hostname: hostName(), processID: Int(getpid()),
      threads: options.threads, fingerprint: options.fingerprint, float32Fingerprint: options.float32Fingerprint,
      computesGradients: options.computesGradients, isRelay: options.isRelay)
    // Refused when nobody is there; the next knock comes anyway.
    isHelloUnheard = try dealer.send(Envelope(.hello(hello)).encoded()) != .sent
  }

  /// - Parameter elsewhere: at the next place there is.
  private func openConnection(elsewhere: Bool = false) throws {
    if elsewhere, attachments.count > 1 {
      attachment = (attachment + 1) % attachments.count
      brokenHandshakes = 0
      logger.notice("trying \(endpoint)")
    }
    dealer = try Self.openDealer(context, endpoint, limits, security)
    outbox = Outbox()
    connectionOpened = MonotonicClock.now()
  }

  var preferredEndpoint: Endpoint { attachments[0].endpoint }
  var hasSentEverything: Bool { outbox.isEmpty }

  /// A connection to the first place.
  func openProbe() throws -> Socket {
    try Self.openDealer(context, attachments[0].endpoint, limits, attachments[0].security)
  }

  /// Leaves the session, which has ended with a goodbye, for the first place.
  func attachToFirst() throws {
    session = nil
    isHelloUnheard = false
    shared.state.withLock { $0.isConnected = false }
    (attachment, brokenHandshakes) = (0, 0)
    waitingSince = MonotonicClock.now()
    nextHello = waitingSince
    try openConnection()
  }

  /// Gives the connection up and starts anew. Work and results are kept: the learner may be back with the same run.
  func reconnect(_ reason: String, elsewhere: Bool = false) throws {
    let now = MonotonicClock.now()
    if session != nil {
      logger.warning("lost the learner at \(endpoint): \(reason)")
      shared.events.put(.disconnected(reason: reason))
      waitingSince = now
      lastNotice = now
    } else {
      logger.warning("\(reason)")
    }
    session = nil
    wayBack = WayBack()
    isHelloUnheard = false
    shared.state.withLock { $0.isConnected = false }
    nextHello = now + backoff.pause(spread: Double.random(in: 0..<1))
    try openConnection(elsewhere: elsewhere)
  }

  private func handle(_ envelope: Envelope) throws {
    switch envelope.message {
    case .welcome(let welcome):
      return try join(welcome, session: envelope.session)
    case .refused(let reason):
      // Without a session it is the answer to a Hello, and the next one is due anyway.
      if session != nil { return try reconnect(reason) }
      return logger.warning("the learner at \(endpoint) refuses: \(reason)")
    case .protocolError(let reason):
      return try reconnect("the learner says that we broke the protocol: \(reason)", elsewhere: true)
    default: break
    }
    guard session != nil, envelope.session == session!.id else { return }
    session!.liveness.heard(now: MonotonicClock.now())
    try handleInSession(envelope.message)
  }

  private func join(_ welcome: Welcome, session id: UInt64) throws {
    let now = MonotonicClock.now()
    if welcome.relayPath.contains(incarnation) {
      complain("\(endpoint) gets its work from this very relay: name another --connect")
      return try reconnect("a loop of relays", elsewhere: true)
    }
    session = WorkerSession(
      id: id,
      liveness: Liveness(
        interval: .milliseconds(welcome.heartbeatIntervalMilliseconds),
        timeout: .milliseconds(welcome.livenessTimeoutMilliseconds), now: now))
    backoff.reset()
    lastRefusal = nil
    logger.info("joined run \(welcome.runID) at \(endpoint)")
    shared.state.withLock { $0.isConnected = true }
    if learnerIncarnation != welcome.learnerIncarnation {
      learnerIncarnation = welcome.learnerIncarnation
      settle(work.unacknowledged.count + gradients.computed.count)
      work.removeAll()
      returned = []
      gradients.removeAll()
      deliveredVersion = nil
      deliveredBase = nil
      deliveredReference = nil
      weights.learnerChanged(current: welcome.currentVersion)
      shared.events.put(.joined(welcome))
    }
    try subscribe(to: welcome.announcementEndpoint)
    try send(weights.resume(now: now))
    if let current = welcome.currentVersion { try announced(current, isAuthoritative: true) }
    for result in work.unacknowledged.values { try send([.trajectoryResult(result)]) }
    try send(gradients.resume())
    if isDraining { try send([.drain(reason: "draining")]) }
    try giveBack()
    promised = work.sampleCount
    try spendCredits()
    try sendHeartbeat()
  }

  private func subscribe(to announced: String) throws {
    guard let announced = try? endpoint.sibling(announced: Endpoint(announced)), announced.description != subscribedTo
    else { return }
    if subscribedTo != nil { subscriber = try Self.openSubscriber(context, security) }
    // A missed announcement repairs itself with the next heartbeat, so a useless endpoint is no reason to stop.
    do {
      try subscriber.connect(announced)
      subscribedTo = announced.description
    } catch {
      logger.warning("no announcements: \(error)")
    }
  }

  // MARK: Messages

  private func handleInSession(_ message: Message) throws {
    let now = MonotonicClock.now()
    switch message {
    case .grant(let leases):
      for lease in leases where !isDraining && !wayBack.isReturning && !work.add(lease) {
        logger.warning("lease \(lease.id) was granted twice")
      }
      try deliverLeases()
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
        logger.notice(
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
    case .gradientGrant, .gradientTrajectory, .pullGradient, .gradientDone:
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
    let (wantsDrain, ending, classes) = shared.state.withLock { ($0.wantsDrain, $0.ending, $0.gradientClasses) }
    if session != nil, classes != reportedClasses { try sendHeartbeat() }
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

  private func spendCredits() throws {
    guard session != nil, !isDraining, !wayBack.isReturning else { return }
    let credits = min(shared.state.withLock { $0.capacity } - promised, WorkerRegistry.maximumCredits)
    guard credits > 0 else { return }
    promised += credits
    try send([.requestWork(credits: credits)])
  }

  func sendHeartbeat() throws {
    let (speed, slots, classes) = shared.state.withLock {
      ($0.tokensPerSecond, $0.activeSlots, $0.gradientClasses)
    }
    reportedClasses = classes
    try send([
      .heartbeat(
        Heartbeat(
          leaseIDs: work.leaseIDs, tokensPerSecond: speed, activeSlots: slots,
          heldVersion: weights.usable?.version ?? -1, gradientLeaseIDs: gradients.leaseIDs,
          gradientClasses: classes,
          heldReference: deliveredReference == nil ? nil : weights.reference?.description.root.bytes))
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
