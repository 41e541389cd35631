import Foundation
import FrontEnd
import Machine
import Sessions
import Synchronization
import Thinking
import Trajectories
import Transport
import WeightSync
import Wire

extension TransportBenchmark {
  private static let model = ModelDescription(
    architecture: "llama", vocabularySize: 1024, hiddenSize: 64, intermediateSize: 128, layerCount: 1, headCount: 2,
    keyValueHeadCount: 1, headDimension: 32, contextLength: 1 << 16, rmsNormEpsilon: 1e-5, ropeTheta: 10000,
    tiedEmbeddings: true)

  private struct Keys {
    var learner = SocketSecurity.none
    var relaysUpstream: [SocketSecurity] = []
    var relaysDownstream: [SocketSecurity] = []
    var workers: [SocketSecurity] = []
  }

  private func keys(_ kind: String, workers: Int, relays: Int) throws -> Keys {
    guard kind == "curve" else { return Keys() }
    func pairs(_ count: Int) throws -> [KeyPair] { try (0..<count).map { _ in try KeyPair.generate() } }
    func allowing(_ pairs: [KeyPair], mark: String = "") -> AllowList {
      let names = pairs.enumerated().map { ($1.publicKey, "synthetic-\($0)\(mark)") }
      return AllowList(Dictionary(uniqueKeysWithValues: names))
    }
    let (learner, servers, upwards, own) = (
      try KeyPair.generate(), try pairs(relays), try pairs(relays), try pairs(workers)
    )
    var keys = Keys()
    keys.learner = .server(
      keys: learner, allowed: relays > 0 ? allowing(upwards, mark: AllowList.relayMark) : allowing(own))
    keys.relaysUpstream = upwards.map { .client(keys: $0, serverKey: learner.publicKey) }
    keys.relaysDownstream = servers.map { .server(keys: $0, allowed: allowing(own)) }
    keys.workers = own.enumerated().map { index, pair in
      .client(keys: pair, serverKey: (relays > 0 ? servers[index % relays] : learner).publicKey)
    }
    return keys
  }

  /// Both loads for one number of workers, and broadcasts beside the realistic one.
  func measure(
    _ workers: Int, _ relays: Int, _ security: String, _ segments: [Segment], loopback: Double
  ) throws -> Result {
    let fast = try load(workers, relays, security, segments, rate: nil)
    let real = try load(workers, relays, security, segments, rate: settings.rate)
    let (latencies, arrivals) = (real.latencies.sorted(), real.broadcast.arrivals.sorted())
    let megabytes = Double(fast.bytes) / fast.seconds * 1e-6
    return Result(
      workers: workers, relays: relays, security: security, joinSeconds: fast.joinSeconds,
      trajectoriesPerSecond: Double(fast.trajectories) / fast.seconds, megabytesPerSecond: megabytes,
      microsecondsPerTrajectory: fast.learnerSeconds / Double(max(1, fast.trajectories)) * 1e6,
      libraryMicrosecondsPerTrajectory: fast.librarySeconds / Double(max(1, fast.trajectories)) * 1e6,
      fractionOfLoopback: megabytes / loopback,
      realisticTrajectoriesPerSecond: Double(real.trajectories) / real.seconds,
      realisticCoreShare: real.learnerSeconds / real.seconds,
      realisticLibraryCoreShare: real.librarySeconds / real.seconds,
      announcementMedianMilliseconds: latencies.isEmpty ? 0 : latencies[latencies.count / 2] * 1e3,
      announcementSlowestMilliseconds: (latencies.last ?? 0) * 1e3,
      relayMicrosecondsPerTrajectory: fast.relaySeconds / Double(max(1, fast.trajectories)) * 1e6,
      broadcastLearnerByteCount: real.broadcast.byteCount,
      broadcastLearnerProcessorMilliseconds: real.broadcast.learnerSeconds * 1e3,
      broadcastMedianMilliseconds: arrivals.isEmpty ? 0 : arrivals[arrivals.count / 2] * 1e3,
      broadcastSlowestMilliseconds: (arrivals.last ?? 0) * 1e3,
      lostTrajectories: fast.lostTrajectories + real.lostTrajectories,
      lostSessions: fast.lostSessions + real.lostSessions,
      repeatedResults: fast.repeatedResults + real.repeatedResults)
  }

  private struct Load {
    var joinSeconds = 0.0
    var seconds = 0.0
    var trajectories = 0
    var bytes = 0
    var learnerSeconds = 0.0
    var librarySeconds = 0.0
    var relaySeconds = 0.0
    var latencies: [Double] = []
    var broadcast = Broadcast()
    var lostTrajectories = 0
    var lostSessions = 0
    var repeatedResults = 0
  }

  /// Of one version, on average; the arrivals are those of all.
  private struct Broadcast {
    var byteCount = 0
    var learnerSeconds = 0.0
    var arrivals: [Double] = []
  }

  /// What has run so far.
  private struct Usage {
    var fleet: FleetCounters
    var accepted: Int
    var learner = ThreadUsage.learner
    var library = ThreadUsage.library
    var relays = ThreadUsage.relays
    var time = MonotonicClock.now()
  }

  private func load(
    _ workers: Int, _ relayCount: Int, _ security: String, _ segments: [Segment], rate: Double?
  ) throws -> Load {
    let keys = try keys(security, workers: workers, relays: relayCount)
    var options = LearnerFrontEndOptions(runID: "bench-transport", model: Self.model)
    options.controlEndpoint = "tcp://127.0.0.1:0"
    options.announcementEndpoint = "tcp://127.0.0.1:0"
    options.security = keys.learner
    // Versions come and go here, and no result is too old.
    options.maxStaleness = 1 << 20
    options.heartbeatInterval = .seconds(2)
    options.livenessTimeout = .seconds(30)
    options.leaseDuration = .seconds(60)
    let frontEnd = try LearnerFrontEnd(options, logger: logger)
    var relays: SyntheticRelays?
    defer {
      frontEnd.shutdown(reason: "measured", within: .seconds(5))
      relays?.join()
    }
    var version = try publish(nil, to: frontEnd, times: nil)
    if relayCount > 0 {
      relays = try SyntheticRelays(
        relayCount, endpoint: frontEnd.controlEndpoint, upstream: keys.relaysUpstream,
        downstream: keys.relaysDownstream, logger: logger)
    }

    let credits = rate.map { max(1, Int($0 * 2)) } ?? settings.credits
    let trainer = SyntheticTrainer(frontEnd, workers: workers, credits: credits)
    try trainer.fill()
    let start = MonotonicClock.now()
    let fleet = try SyntheticFleet(
      SyntheticFleet.Options(
        workers: workers, threads: min(settings.threads, workers), credits: credits, rate: rate,
        endpoints: relays?.endpoints ?? [frontEnd.controlEndpoint], segments: segments, security: keys.workers))
    defer { fleet.stop() }
    func isLate() -> Bool { MonotonicClock.now() - start > .seconds(60) }
    while try fleet.counters().joined < workers {
      try trainer.turn()
      guard !isLate() else {
        throw RoleError("only \(try fleet.counters().joined) of \(workers) synthetic workers joined within a minute")
      }
    }
    var result = Load()
    result.joinSeconds = (MonotonicClock.now() - start).inSeconds
    // Subscriptions are connections of their own, whose handshakes are not part of what is measured.
    while try fleet.counters().subscribed < workers {
      version = try publish(version, to: frontEnd, times: nil)
      try trainer.turn(until: MonotonicClock.now() + .seconds(0.1))
      guard !isLate() else {
        throw RoleError(
          "only \(try fleet.counters().subscribed) of \(workers) synthetic workers hear announcements within a minute")
      }
    }
    // Past the burst of the beginning.
    try trainer.turn(until: MonotonicClock.now() + .seconds(0.3))

    func usage() throws -> Usage {
      Usage(fleet: try fleet.counters(), accepted: frontEnd.statistics().leases.accepted)
    }
    let before = try usage()
    let end = before.time + .seconds(settings.seconds)
    while MonotonicClock.now() < end {
      try trainer.turn(until: min(end, MonotonicClock.now() + .seconds(settings.seconds / 8)))
      version = try publish(version, to: frontEnd, times: fleet.publications)
    }
    let after = try usage()
    result.seconds = (after.time - before.time).inSeconds
    result.trajectories = after.accepted - before.accepted
    result.bytes = after.fleet.sentBytes - before.fleet.sentBytes
    result.learnerSeconds = after.learner - before.learner
    result.librarySeconds = after.library - before.library
    result.relaySeconds = after.relays - before.relays
    result.latencies = after.fleet.latencies
    if rate != nil {
      result.broadcast = try broadcast(&version, frontEnd, fleet, workers: workers, usage: usage, trainer)
    }

    // Everything that was submitted must have come, and everything that was sent must be acknowledged.
    trainer.isClosed = true
    let deadline = MonotonicClock.now() + .seconds(30)
    var last = try fleet.counters()
    while rate == nil, MonotonicClock.now() < deadline {
      try trainer.turn(until: MonotonicClock.now() + .seconds(0.2))
      let now = try fleet.counters()
      let isQuiet = trainer.outstanding == 0 && now.sent == last.sent && now.acknowledged == now.sent
      last = now
      if isQuiet { break }
    }
    let statistics = frontEnd.statistics()
    if rate == nil {
      result.lostTrajectories = max(0, trainer.submittedSamples - statistics.leases.accepted)
      result.lostTrajectories += max(0, last.sent - last.acknowledged)
    }
    // A sample lent twice on purpose, near the end, comes back twice: perhaps when its group is done with and forgotten.
    result.repeatedResults =
      max(0, statistics.leases.duplicate + statistics.unknownResults - statistics.leases.hedged)
      + statistics.staleResults + statistics.leases.requeued
    result.lostSessions = last.lost + statistics.counters.lostSessions + (relays?.lostSessions ?? 0)
    return result
  }

  /// Publishes versions of `broadcastByteCount` bytes, each when all workers have the one before.
  private func broadcast(
    _ version: inout WeightSnapshot, _ frontEnd: LearnerFrontEnd, _ fleet: SyntheticFleet, workers: Int,
    usage: () throws -> Usage, _ trainer: SyntheticTrainer
  ) throws -> Broadcast {
    let rounds = 3
    // Relays fetch the announced versions of before, too.
    let current = version.version
    try trainer.turn(
      until: MonotonicClock.now() + .seconds(10),
      unless: { frontEnd.statistics().workers.allSatisfy { $0.heldVersion >= current } })
    let (before, bytes) = (try usage(), frontEnd.statistics().counters.weightBytesSent)
    for round in 1...rounds {
      version = try publish(
        version, byteCount: max(Self.announcedByteCount + 2, settings.broadcastByteCount), to: frontEnd,
        times: fleet.publications)
      let deadline = MonotonicClock.now() + .seconds(60)
      while try fleet.counters().arrivals.count < workers * round {
        guard MonotonicClock.now() < deadline else {
          throw RoleError(
            "only \(try fleet.counters().arrivals.count - workers * (round - 1)) of \(workers) synthetic workers had a version of "
              + "\(version.byteCount) bytes within a minute")
        }
        try trainer.turn()
      }
    }
    let after = try usage()
    return Broadcast(
      byteCount: (frontEnd.statistics().counters.weightBytesSent - bytes) / rounds,
      learnerSeconds: (after.learner + after.library - before.learner - before.library) / Double(rounds),
      arrivals: after.fleet.arrivals)
  }

  /// A version, chained to the one before.
  private func publish(
    _ parent: WeightSnapshot?, byteCount: Int = announcedByteCount, to frontEnd: LearnerFrontEnd,
    times: PublicationTimes?
  ) throws -> WeightSnapshot {
    let version = parent.map { $0.version + 1 } ?? 0
    let snapshot = try WeightSnapshot(
      version: version, parent: parent?.description.identity ?? .zero, byteCount: byteCount
    ) { bytes in
      for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &+ version) }
    }
    times?.note(version)
    try frontEnd.publish(snapshot)
    return snapshot
  }
}

/// Keeps the queue full and takes what is complete, as a trainer would.
private final class SyntheticTrainer {
  private let frontEnd: LearnerFrontEnd
  private let wanted: Int
  private var next = 0
  /// Groups that are not complete.
  private(set) var outstanding = 0
  var submittedSamples: Int { next * Self.groupSize }
  /// Submits nothing new.
  var isClosed = false
  private static let groupSize = 8

  init(_ frontEnd: LearnerFrontEnd, workers: Int, credits: Int) {
    self.frontEnd = frontEnd
    wanted = (2 * workers * credits + 64) / Self.groupSize + 1
  }

  func fill() throws {
    guard !isClosed, outstanding < wanted else { return }
    let count = wanted - outstanding
    try frontEnd.submit(
      (next..<next + count).map {
        PromptGroup(
          ordinal: $0, promptID: "prompt-\($0)", prompt: (0..<64).map { Int32($0) }, sampleCount: Self.groupSize,
          policy: ThinkingPolicy(), plan: CompletionPlan(thinking: 8192, maxAnswerTokens: 64),
          noiseSeed: 1)
      })
    next += count
    outstanding += count
  }

  func turn() throws {
    if try frontEnd.nextGroup(within: .milliseconds(5)) != nil { outstanding -= 1 }
    if outstanding < wanted * 3 / 4 { try fill() }
  }

  func turn(until deadline: Duration, unless isDone: () -> Bool = { false }) throws {
    while MonotonicClock.now() < deadline, !isDone() { try turn() }
  }
}
