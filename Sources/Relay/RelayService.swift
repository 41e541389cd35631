import Foundation
import FrontEnd
import Kernels
import Logging
import Machine
import Sessions
import Synchronization
import Transport
import WeightSync
import Wire
import WorkerLink

/// How a relay is attached and where its workers find it.
public struct RelayServiceOptions: Sendable {
  /// ROUTER, as a learner's. Port 0 takes a free one.
  public var controlEndpoint: String
  /// PUB, as a learner's.
  public var announcementEndpoint: String
  /// Permits endpoints that other machines can reach although nothing is encrypted or authenticated.
  public var allowInsecure = false
  /// `server`: CURVE on both sockets, for the keys on its list alone.
  public var security = SocketSecurity.none
  /// Holds the key that it shows above for as long as it runs.
  public var upstreamKeys: LoadedSecurity?
  /// How it joins what is above it.
  var link: WorkerLinkOptions
  /// Workers that may be lost with a sample before it goes back up.
  var maximumLosses = 2
  /// Threads that gradients are added up with.
  var threads = min(4, ProcessorFeatures.current.availableProcessors)
  /// Bytes that gradients' sums may take; nil: nobody knows.
  var availableMemory: @Sendable () -> Int? = { Machine.availableMemory }
  /// Of the names of libzmq's threads.
  package var threadPrefix: Int? {
    get { link.threadPrefix }
    set { link.threadPrefix = newValue }
  }
  /// Instead of the learner's, for tests.
  var leaseDuration: Duration?

  /// - Parameter attachments: the learner or relay to attach to, and where else to go when it is lost; at least one.
  public init(
    attachments: [Attachment], name: String? = nil, controlEndpoint: String = "tcp://127.0.0.1:5555",
    announcementEndpoint: String = "tcp://127.0.0.1:5556"
  ) {
    self.controlEndpoint = controlEndpoint
    self.announcementEndpoint = announcementEndpoint
    link = WorkerLinkOptions(
      endpoint: attachments.first?.endpoint ?? "",
      workerName: name ?? "relay-\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier)",
      threads: 1, fingerprint: "relay", capacity: 0)
    link.computesGradients = true
    link.isRelay = true
    link.security = attachments.first?.security ?? .none
    link.alternatives = Array(attachments.dropFirst())
  }
}

/// A worker upwards and a learner downwards: the learner's link carries each version once and each sample once, however many
/// workers there are below (docs/protocol.md).
///
///     let relay = try RelayService(RelayServiceOptions(attachments: [Attachment(endpoint: "tcp://learner:5555")]),
///       stop: stop, logger: logger)
///     try relay.run()
///
/// It asks for as many samples as its workers want to hold, lends what it is lent under leases of its own, and passes each
/// result on as it comes, with the name and fingerprint of the worker that drew it. A result is acknowledged to the worker when
/// the relay holds it, and held until it is acknowledged from above. Gradients are added up on their way, so that one goes up
/// for each lease from above. The front end below opens when a run is joined above: a
/// relay that leads nowhere has no workers.
public final class RelayService: Sendable {
  private struct State {
    var frontEnd: LearnerFrontEnd?
    /// As long as the front end.
    var gradients: GradientRelay?
    var isAborted = false
  }

  private let options: RelayServiceOptions
  private let stop: StopSignal
  private let logger: Logger
  private let link: WorkerLink
  private let state = Mutex(State())

  /// - Throws: `TransportError` for endpoints that cannot be any, or that need keys.
  public init(_ options: RelayServiceOptions, stop: StopSignal, logger: Logger) throws {
    for endpoint in try [options.controlEndpoint, options.announcementEndpoint].map({ try Endpoint($0) })
    where !endpoint.isLocal && options.security.isNone && !options.allowInsecure {
      throw endpoint.refusalWithoutKeys
    }
    self.options = options
    self.stop = stop
    self.logger = logger
    link = try WorkerLink(options.link, logger: logger)
  }

  /// The side that workers see, while there is one.
  package var frontEnd: LearnerFrontEnd? { state.withLock { $0.frontEnd } }

  private var gradients: GradientRelay? { state.withLock { $0.gradients } }

  /// Names the relay to those above and below.
  var incarnation: UInt64 { link.incarnation }

  /// What the relay knows of the run above it.
  private struct Run {
    var welcome: Welcome
    var base: WeightSnapshot?
    /// The frozen model of the KL term.
    var reference: WeightSnapshot?
    var snapshot: WeightSnapshot?
    var lostSince: Duration?
    /// Since when there is more work than the workers take.
    var excessSince: Duration?
    /// Since when the front end cannot be opened.
    var closedSince: Duration?
    /// Nobody was told of the front end yet.
    var isNew = false
    /// Ports that were free when port 0 was asked for stay the relay's.
    var control: String
    var announcement: String

    var patience: Duration { .milliseconds(welcome.livenessTimeoutMilliseconds) }
  }

  /// Works until the learner ends the run, or until SIGTERM: then what its workers have begun is delivered first.
  ///
  /// - Parameter onListening: called whenever the front end has opened.
  /// - Throws: when the link has broken for good, or the sockets cannot be bound.
  public func run(onListening: (LearnerFrontEnd) -> Void = { _ in }) throws {
    var run: Run?
    var drainEnds: Duration?
    var nextBalance: Duration = .zero
    defer { close() }
    while !state.withLock({ $0.isAborted }) {
      var patience = Duration.milliseconds(20)
      while let event = try link.nextEvent(within: patience) {
        patience = .zero
        if case .shutdown(let reason) = event {
          frontEnd?.shutdown(reason: reason, within: .seconds(10))
          state.withLock { $0.frontEnd = nil }
          return
        }
        try handle(event, &run)
      }
      if state.withLock({ $0.isAborted }) { break }
      let now = MonotonicClock.now()
      // A relay that goes on without the side that its workers see would keep the learner waiting for nothing.
      if let failure = frontEnd?.failure {
        link.abort()
        throw RoleError("the side of this relay that faces its workers has ended: \(failure)")
      }
      if run != nil {
        try keepOpen(&run!, now)
        if run!.isNew, let frontEnd {
          run!.isNew = false
          onListening(frontEnd)
        }
        // It looks at every worker: not after every message.
        if now >= nextBalance {
          balance(&run!, now)
          nextBalance = now + .milliseconds(5)
        }
      }
      if stop.isRequested, drainEnds == nil {
        logger.info("draining: no new work; waiting for what the workers have begun")
        drainEnds = now + .seconds(60)
        link.drain()
      }
      if let drainEnds {
        for work in frontEnd?.takeQueued(atMost: .max) ?? [] { link.giveBack(work) }
        if now >= drainEnds || frontEnd?.relayLoad.held ?? 0 == 0 && gradients?.isIdle ?? true {
          let isDelivered = link.close(reason: "drained", within: .seconds(10))
          return logger.info(
            "drained\(isDelivered ? "" : "; some results were not acknowledged and will be sampled again")")
        }
      }
    }
  }

  private func handle(_ event: WorkerEvent, _ run: inout Run?) throws {
    switch event {
    case .joined(let welcome):
      guard welcome.relayPath.count < WireLimits.relayDepth else {
        throw RoleError(
          "\(welcome.relayPath.count) relays lie between this one and the learner, which is the most there may be: connect it "
            + "nearer to the learner")
      }
      let (control, announcement) =
        run.map { ($0.control, $0.announcement) } ?? (options.controlEndpoint, options.announcementEndpoint)
      // Another run above: what the workers have is void. They find that out by joining anew.
      close()
      run = Run(welcome: welcome, control: control, announcement: announcement)
      try open(&run!, MonotonicClock.now())
    case .base(let base): run?.base = base
    case .deltas(let deltas, let target):
      // Their bytes are those that were announced; whether they lead to the version everybody sees who applies them.
      do { try frontEnd?.publish(deltas: deltas, to: target) } catch {
        logger.debug("\(error); it is passed on when it is here")
      }
    case .reference(let reference):
      run?.reference = reference
      do { try frontEnd?.publish(reference: reference) } catch { logger.warning("\(error)") }
    case .gradientWeights(let version):
      do { try frontEnd?.passOn(version) } catch { logger.warning("\(error)") }
    case .weights(let snapshot):
      run?.snapshot = snapshot
      if run != nil { publish(&run!) }
    case .lease(let lease):
      do {
        guard let frontEnd else { throw RoleError("there is no front end") }
        try frontEnd.lend(lease)
      } catch {
        logger.warning("lease \(lease.id) cannot be passed on: \(error)")
        link.giveBack(
          ReturnedWork(
            leaseID: lease.id, sampleIndices: lease.sampleIndices,
            reason: (lease.complaint ?? "").bounded(toBytes: String.reasonByteCount)))
      }
    case .cancelled(let leaseIDs):
      for id in leaseIDs { frontEnd?.withdraw(id) }
      gradients?.cancel(leaseIDs)
    case .gradient(let task):
      guard let gradients else {
        try link.send(.declined(leaseID: task.grant.id, reason: "this relay is closed", isNotFinite: false))
        break
      }
      gradients.take(task)
    case .cancelledSamples(let id, let samples): frontEnd?.withdraw(id, samples: samples)
    case .caught(let workers): frontEnd?.quarantine(workers: workers, reason: "the learner caught it")
    case .disconnected: run?.lostSince = MonotonicClock.now()
    case .drain: stop.request()
    case .shutdown: break
    }
  }

  // MARK: The side below

  private func open(_ run: inout Run, _ now: Duration) throws {
    let welcome = run.welcome
    var below = LearnerFrontEndOptions(runID: welcome.runID, model: welcome.model, dtype: welcome.dtype)
    below.controlEndpoint = run.control
    below.announcementEndpoint = run.announcement
    below.allowInsecure = options.allowInsecure
    below.security = options.security
    below.threadPrefix = options.threadPrefix
    // Whether a sample is fresh enough is said above: a lease names its versions, and is cancelled when its time is over.
    below.maxStaleness = .max
    below.heartbeatInterval = .milliseconds(welcome.heartbeatIntervalMilliseconds)
    below.livenessTimeout = .milliseconds(welcome.livenessTimeoutMilliseconds)
    below.leaseDuration = options.leaseDuration ?? max(below.leaseDuration, below.heartbeatInterval * 3)
    below.maximumLosses = options.maximumLosses
    let (link, logger) = (link, logger)
    below.relay = RelayUpstream(
      path: welcome.relayPath + [link.incarnation], maxStaleness: welcome.maxStaleness,
      deliver: { result in
        do { try link.send(result) } catch {
          logger.error("sample \(result.sampleIndex) of lease \(result.leaseID) cannot be passed on: \(error)")
          link.giveBack(
            ReturnedWork(leaseID: result.leaseID, sampleIndices: [result.sampleIndex], isLoss: true))
        }
      }, giveBack: { link.giveBack($0) })
    do {
      let frontEnd = try LearnerFrontEnd(below, logger: logger)
      (run.control, run.announcement) = (frontEnd.controlEndpoint, frontEnd.announcementEndpoint)
      run.closedSince = nil
      run.isNew = true
      let gradients = try GradientRelay(
        fleet: frontEnd.gradients, link: link, threads: options.threads,
        availableMemory: options.availableMemory, logger: logger)
      state.withLock { ($0.frontEnd, $0.gradients) = (frontEnd, gradients) }
      if let reference = run.reference { try frontEnd.publish(reference: reference) }
      publish(&run)
    } catch let error as TransportError {
      // The relay's own sockets of a moment ago may not be gone yet.
      let since = run.closedSince ?? now
      run.closedSince = since
      if now - since > .seconds(10) { throw error }
    }
  }

  private func publish(_ run: inout Run) {
    guard let frontEnd, let snapshot = run.snapshot else { return }
    do {
      try frontEnd.publish(
        snapshot, base: snapshot.description.adapter == nil ? nil : run.base,
        deltas: link.deltas(to: snapshot))
    } catch {
      // Versions went back without another learner: those below begin anew, too.
      logger.warning("\(error); the workers join anew")
      surrender()
    }
  }

  /// The front end is open while there is something above it: without, its workers should look for another place.
  private func keepOpen(_ run: inout Run, _ now: Duration) throws {
    if link.isConnected { run.lostSince = nil }
    if let since = run.lostSince, now - since > run.patience {
      guard frontEnd != nil else { return }
      logger.warning(
        "nothing above this relay for \(run.patience): it closes until there is, so that its workers go elsewhere")
      return surrender()
    }
    if frontEnd == nil, link.isConnected { try open(&run, now) }
  }

  /// Asks for what the workers can take, tells how fast they are, and gives back what is left over when some of them leave.
  private func balance(_ run: inout Run, _ now: Duration) {
    let load = frontEnd?.relayLoad ?? RelayLoad()
    link.setCapacity(load.capacity)
    link.report(tokensPerSecond: load.tokensPerSecond, activeSlots: load.activeSlots)
    let (classes, gradientVersion) = frontEnd?.gradientsBelow ?? ([], nil)
    link.report(gradientClasses: gradients?.hasMemory ?? false ? classes : [])
    link.report(gradientVersion: gradientVersion)
    let excess = min(load.held - load.capacity, load.queued)
    guard excess > 0 else { return run.excessSince = nil }
    // A worker between a result and its next request is no excess, nor is one that reconnects.
    let since = run.excessSince ?? now
    run.excessSince = since
    guard now - since >= .milliseconds(run.welcome.heartbeatIntervalMilliseconds) else { return }
    run.excessSince = nil
    for work in frontEnd?.takeQueued(atMost: excess) ?? [] {
      logger.info("\(work.sampleIndices.count) samples go back up: too few workers are left for them")
      link.giveBack(work)
    }
  }

  /// Gives everything back and closes the front end.
  private func surrender() {
    for work in frontEnd?.unfinishedWork ?? [] { link.giveBack(work) }
    close()
  }

  private func close() {
    let (frontEnd, gradients) = state.withLock { state in
      defer { (state.frontEnd, state.gradients) = (nil, nil) }
      return (state.frontEnd, state.gradients)
    }
    gradients?.end()
    frontEnd?.abort()
  }

  /// Ends without a word in either direction: what others see when the process is killed. For tests.
  package func abort() {
    state.withLock { $0.isAborted = true }
    link.abort()
    close()
  }
}
