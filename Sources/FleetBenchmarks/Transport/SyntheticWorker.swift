import Coordination
import Machine
import Sessions
import Trajectories
import Transport
import Wire

/// What the synthetic workers of one thread have done. Confined to that thread until it ends.
struct FleetCounters: Sendable {
  var joined = 0
  /// Workers that have heard an announcement: their second connection stands, too.
  var subscribed = 0
  var sent = 0
  var sentBytes = 0
  var acknowledged = 0
  /// Sessions that ended, for whatever reason.
  var lost = 0
  /// Seconds from a publication to its announcement's arrival, one per worker and version.
  var latencies: [Double] = []
  /// Seconds from a publication to the last byte of its weights, of versions that are pulled.
  var arrivals: [Double] = []
}

/// A worker without an engine: it joins, takes leases and answers each with a made-up trajectory, by the real protocol over
/// real sockets. Several live on one thread.
final class SyntheticWorker {
  private let name: String
  private let control: Endpoint
  private let context: TransportContext
  private let security: SocketSecurity
  private let segments: [Segment]
  private let credits: Int
  /// Results a second; nil: as fast as they are taken.
  private let rate: Double?
  private let incarnation = UInt64.random(in: 1...UInt64.max)
  private var dealer: Socket
  private var subscriber: Socket
  private var hasHeard = false
  private var session: UInt64?
  private var heartbeatInterval: Duration = .seconds(1)
  private var nextHeartbeat: Duration = .zero
  private var nextHello: Duration
  private var backlog = SampleBacklog()
  private var nextResult: Duration = .zero
  private var outbox = Outbox()
  private var heldVersion = -1
  /// The version that is being pulled, and its chunks that have not come.
  private var pull: (version: Int, missing: Int)?

  init(
    name: String, control: Endpoint, context: TransportContext, security: SocketSecurity, segments: [Segment],
    credits: Int, rate: Double?, start: Duration
  ) throws {
    self.name = name
    self.control = control
    self.context = context
    self.security = security
    self.segments = segments
    self.credits = credits
    self.rate = rate
    nextHello = start
    var options = Socket.Options()
    options.security = security
    options.sendHighWaterMark = 16
    options.maximumFrameByteCount = 4 << 20
    options.linger = .milliseconds(200)
    dealer = try Socket(.dealer, context: context, options: options)
    try dealer.connect(control)
    subscriber = try Socket(.subscriber, context: context, options: options)
    try subscriber.subscribe("version")
  }

  /// One look at everything that may be due.
  /// - Returns: whether there was anything to do.
  func turn(now: Duration, published: (Int) -> Duration?, counters: inout FleetCounters) throws -> Bool {
    var isBusy = false
    for _ in 0..<64 {
      guard let frames = try dealer.receive() else { break }
      isBusy = true
      try handle(Envelope(decoding: frames), now, published, &counters)
    }
    guard let session else {
      if now >= nextHello {
        let hello = Hello(
          workerName: name, incarnation: incarnation, hostname: "synthetic", processID: 1, threads: 1,
          fingerprint: "synthetic")
        // Refused until somebody is there. A second one would be a second session, and what was sent in the first is not
        // repeated here.
        let isSent = try dealer.send(Envelope(.hello(hello)).encoded()) == .sent
        nextHello = now + (isSent ? .seconds(20) : .milliseconds(100))
      }
      return isBusy
    }
    while let frames = try subscriber.receive() {
      isBusy = true
      if !hasHeard { counters.subscribed += 1 }
      hasHeard = true
      if case .versionAnnouncement(let announcement) = try Envelope(decoding: Array(frames.dropFirst())).message {
        note(announcement, published, &counters)
      }
    }
    try work(session, now, &isBusy, &counters)
    return isBusy
  }

  private func work(_ session: UInt64, _ now: Duration, _ isBusy: inout Bool, _ counters: inout FleetCounters) throws {
    var finished = 0
    while outbox.count < 4, rate == nil || now >= nextResult, let item = backlog.next() {
      if let rate { nextResult = max(nextResult, now - .seconds(1)) + .seconds(1 / rate) }
      outbox.put(
        .trajectoryResult(
          TrajectoryResult(
            leaseID: item.lease.id, groupOrdinal: item.lease.groupOrdinal, sampleIndex: item.sample,
            policyVersion: min(
              max(heldVersion, item.lease.policyVersions.lowerBound), item.lease.policyVersions.upperBound),
            segments: segments, finishReason: .stop, elapsedMicroseconds: 1000)))
      finished += 1
      counters.sent += 1
    }
    if finished > 0 { outbox.put(.requestWork(credits: finished)) }
    if now >= nextHeartbeat {
      nextHeartbeat = now + heartbeatInterval
      outbox.put(
        .heartbeat(
          Heartbeat(leaseIDs: backlog.leaseIDs, tokensPerSecond: 100, activeSlots: 1, heldVersion: heldVersion)))
    }
    guard !outbox.isEmpty else { return }
    isBusy = true
    _ = try outbox.flush(session: session) { frames in
      let outcome = try dealer.send(frames)
      if outcome == .sent, frames.count > 1 { counters.sentBytes += frames.reduce(0) { $0 + $1.count } }
      return outcome
    }
  }

  private func handle(
    _ envelope: Envelope, _ now: Duration, _ published: (Int) -> Duration?, _ counters: inout FleetCounters
  ) throws {
    switch envelope.message {
    case .welcome(let welcome):
      if session == nil { counters.joined += 1 }
      session = envelope.session
      heartbeatInterval = .milliseconds(welcome.heartbeatIntervalMilliseconds)
      nextHeartbeat = now
      nextResult = now
      try subscriber.connect(control.sibling(announced: Endpoint(welcome.announcementEndpoint)))
      outbox.put(.requestWork(credits: credits))
    case .grant(let leases): backlog.add(leases)
    case .resultAcknowledgement: counters.acknowledged += 1
    case .weightsChunk(let chunk) where chunk.version == pull?.version:
      pull!.missing -= 1
      guard pull!.missing == 0 else { break }
      pull = nil
      if let sent = published(chunk.version) { counters.arrivals.append((MonotonicClock.now() - sent).inSeconds) }
    case .refused, .protocolError, .shutdown:
      if session != nil { counters.lost += 1 }
      session = nil
      outbox = Outbox()
      backlog = SampleBacklog()
      nextHello = now + .seconds(1)
    default: break
    }
  }

  private func note(
    _ announcement: VersionAnnouncement, _ published: (Int) -> Duration?, _ counters: inout FleetCounters
  ) {
    guard announcement.version > heldVersion else { return }
    heldVersion = announcement.version
    guard let sent = published(announcement.version) else { return }
    counters.latencies.append((MonotonicClock.now() - sent).inSeconds)
    // A version of a page is only announced; a larger one is fetched, but neither verified nor kept.
    guard announcement.byteCount > TransportBenchmark.announcedByteCount else { return }
    let chunks = min(64, (announcement.byteCount - 1) / max(1, announcement.chunkByteCount) + 1)
    pull = (announcement.version, chunks)
    outbox.put(
      .pullWeights(PullWeights(version: announcement.version, firstChunk: 0, count: chunks, isDelta: false)))
  }

  func goodbye() throws {
    guard let session else { return }
    try dealer.send(Envelope(session: session, .goodbye(reason: "measured")).encoded())
  }
}
