import Coordination
import Machine
import Sessions
import Transport
import WeightExchange
import WeightSync
import Wire

// What goes out: through a queue for each worker, of which the socket takes what the connection does.
extension LearnerLoop {
  /// Queues a message and sends what the socket takes.
  func send(_ message: Message, to worker: WorkerID) {
    guard sessions[worker]?.outbox?.put(message) != nil else { return }
    // What waits counts as said: it goes before any heartbeat would.
    shared.state.withLock { $0.registry.sent(to: worker, now: MonotonicClock.now()) }
    flush(worker)
  }

  /// Offers again what sockets did not take; not between any two messages, since a thousand workers may be waiting.
  func flushWaiting() {
    guard !sessions.waiting.isEmpty else { return }
    let now = MonotonicClock.now()
    guard now >= timers.nextFlush else { return }
    timers.nextFlush = now + .milliseconds(2)
    for worker in sessions.waiting { flush(worker) }
  }

  func flush(_ worker: WorkerID) {
    let state: Outbox.State
    do {
      guard let route = sessions[worker]?.route,
        let flushed = try sessions[worker]?.outbox?.flush(session: worker.value, { try control.send([route] + $0) })
      else { return }
      state = flushed
    } catch {
      // Whose message it is that cannot be sent pays for it, and nobody else.
      return drop(worker, "a message to it cannot be sent: \(error)", isLoss: true)
    }
    sessions.flushed(worker, state)
    if state == .waiting, sessions[worker]?.outbox?.isOverfull == true {
      drop(worker, "does not read its messages", isLoss: true)
    }
  }

  /// To a peer that has no session (any longer): lost when it does not read.
  func reply(_ message: Message, session: UInt64, to route: [UInt8]) {
    do { try control.send([route] + Envelope(session: session, message).encoded()) } catch {
      logger.error("an answer could not be sent: \(error)")
    }
  }
}

// Versions and deltas, as workers pull them.
extension LearnerLoop {
  func served(_ version: Int, _ isDelta: Bool, _ progress: VersionStore.Progress) -> (any ChunkedWeights)? {
    let now = MonotonicClock.now()
    return shared.state.withLock {
      $0.versions.served(version: version, isDelta: isDelta, progress: progress, now: now)
    }
  }

  /// A worker says whether its link is too narrow for the versions.
  func note(narrowLink bytesPerSecond: Int, of worker: WorkerID) {
    let (before, byteCount) = shared.state.withLock { state in
      (
        state.registry.report(worker, narrowLinkBytesPerSecond: bytesPerSecond),
        state.versions.current?.byteCount ?? 0
      )
    }
    if bytesPerSecond > 0, before == 0 {
      log(
        .warning, of: worker,
        "worker \(name(of: worker)) cannot keep up with the versions: its link carries \(bytesPerSecond) bytes/s, and a version has \(byteCount) bytes; it takes no work until it can. Its own log has the figures"
      )
    } else if bytesPerSecond == 0, before > 0 {
      log(.notice, of: worker, "worker \(name(of: worker)) keeps up with the versions again")
    }
  }

  /// Nothing to plan before the first publication: the worker asks again when it is told of a version.
  func servePlan(holding identity: [UInt8], to worker: WorkerID) {
    let held = try? Digest(identity)
    guard let plan = shared.state.withLock({ $0.versions.plan(holding: held) }) else { return }
    send(.weightPlan(WeightPlanDescription(plan)), to: worker)
  }

  func serve(_ pull: PullWeights, to worker: WorkerID) throws {
    // Who asks for the same again has not got it.
    let isRepeated = sessions[worker]?.lastPull == pull
    sessions[worker]?.lastPull = pull
    guard let weights = served(pull.version, pull.isDelta, isRepeated ? .standsStill : .goesOn) else {
      return send(.weightsUnavailable(version: pull.version, isDelta: pull.isDelta), to: worker)
    }
    guard pull.firstChunk + pull.count <= weights.chunkCount else {
      throw WireError("PullWeights asks for chunks that version \(pull.version) does not have")
    }
    // One that was sent all of it several times asks again when it hears nothing.
    if let party = sessions[worker]?.party {
      let isWithin = withBudget(of: party) {
        $0.pull(
          version: pull.version, isDelta: pull.isDelta, count: pull.count, of: weights.chunkCount,
          sessions: max(1, sessions.count(of: party)), now: MonotonicClock.now())
      }
      guard isWithin else { return }
    }
    if pull.firstChunk + pull.count == weights.chunkCount { _ = served(pull.version, pull.isDelta, .ends) }
    for index in pull.firstChunk..<pull.firstChunk + pull.count {
      // Read when it can go: what waits takes no memory.
      sessions[worker]?.outbox?.putBulk { [shared] in
        guard let bytes = weights.chunk(index) else { return nil }
        shared.state.withLock { $0.counters.weightBytesSent += bytes.count }
        return .weightsChunk(WeightsChunk(version: pull.version, index: index, bytes: bytes, isDelta: pull.isDelta))
      }
    }
    flush(worker)
  }
}

// Gradient leases, as far as the I/O thread is concerned.
extension LearnerLoop {
  func handleGradient(_ message: Message, from worker: WorkerID) throws {
    let now = MonotonicClock.now()
    switch message {
    case .pullGradientWork(let pull):
      try shared.gradients.state.withLock { try $0.serve(pull, to: worker) }
    case .gradientReady(let ready):
      try shared.gradients.state.withLock { try $0.ready(ready, from: worker, now: now) }
    case .gradientDeclined(let leaseID, let reason, let isNotFinite):
      log(.warning, of: worker, "worker \(name(of: worker)) gives gradient lease \(leaseID) back: \(reason)")
      shared.gradients.state.withLock {
        $0.declined(leaseID, reason: reason, isNotFinite: isNotFinite, by: worker)
      }
      shared.gradients.signal.put(())
    case .gradientChunk(let chunk):
      if try shared.gradients.state.withLock({ try $0.receive(chunk, from: worker, now: now) }) {
        shared.gradients.signal.put(())
      }
    default: break
    }
  }

  func renewGradients(_ ids: [UInt64], by worker: WorkerID, _ now: Duration) {
    for id in shared.gradients.state.withLock({ $0.renew(ids, by: worker, now: now) }) {
      send(.gradientDone(leaseID: id, accepted: false), to: worker)
    }
  }

  /// Who computes a gradient draws no samples meanwhile, and is not stuck for that.
  func noteComputing(_ now: Duration) {
    let computing = shared.gradients.state.withLock { exchange in
      exchange.keepTime(now: now)
      return exchange.computing
    }
    shared.state.withLock { $0.registry.note(computing: computing, now: now) }
  }

  /// Grants what is worthwhile and sends what the exchange has to say.
  func sendGradientMessages(_ now: Duration) {
    guard shared.gradients.state.withLock({ $0.hasWork }) else { return }
    let (workers, sampling) = shared.state.withLock { state in
      (state.gradientHolders, state.samplingSeconds(dueVersion: (state.table.currentVersion ?? 0) + 1))
    }
    let outgoing = shared.gradients.state.withLock { exchange in
      exchange.takeMessages(now: now, samplingSeconds: sampling) { workers[$0] == $1 }
    }
    for (worker, message) in outgoing {
      switch message {
      case .gradientGrant(let grant):
        logger.debug(
          "gradient lease \(grant.id) of version \(grant.policyVersion), \(grant.passSizes.count) leaves, to \(name(of: worker))"
        )
      case .gradientVersion(let announcement):
        logger.debug("gradient version \(announcement.version) is offered to \(name(of: worker))")
      case .gradientDone(let id, true): logger.debug("gradient lease \(id) came from \(name(of: worker))")
      default: break
      }
      send(message, to: worker)
    }
  }
}

// Of a relay: what nobody below can do.
extension LearnerLoop {
  func passOnWhatIsGivenBack(_ now: Duration) {
    guard let relay = options.relay else { return }
    for work in shared.state.withLock({ $0.takeRefused() }) {
      logger.warning(
        "nobody below can sample \(work.sampleIndices.count) samples of lease \(work.leaseID); they go back up")
      relay.giveBack(work)
    }
    for work in shared.state.withLock({ $0.takeLost() }) {
      logger.warning(
        "\(options.maximumLosses) workers were lost with samples \(work.sampleIndices) of lease \(work.leaseID); they go back up"
      )
      relay.giveBack(work)
    }
  }
}
