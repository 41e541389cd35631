import Foundation
import SoftThinking
import Synchronization
import Transport
import WeightSync
import Wire

extension TransportBenchmark {
  private static let model = ModelDescription(
    architecture: "llama", vocabularySize: 1024, hiddenSize: 64, intermediateSize: 128, layerCount: 1, headCount: 2,
    keyValueHeadCount: 1, headDimension: 32, contextLength: 1 << 16, rmsNormEpsilon: 1e-5, ropeTheta: 10000,
    tiedEmbeddings: true)

  private func securities(_ kind: String, workers: Int) throws -> (server: SocketSecurity, clients: [SocketSecurity]) {
    guard kind == "curve" else { return (.none, []) }
    let server = try KeyPair.generate()
    let keys = try (0..<workers).map { _ in try KeyPair.generate() }
    let allowed = AllowList(
      Dictionary(uniqueKeysWithValues: keys.enumerated().map { ($1.publicKey, "synthetic-\($0)") }))
    return (
      .server(keys: server, allowed: allowed), keys.map { .client(keys: $0, serverKey: server.publicKey) }
    )
  }

  /// Both loads for one number of workers.
  func measure(_ workers: Int, _ security: String, _ segments: [Segment], loopback: Double) throws -> Result {
    let fast = try load(workers, security, segments, rate: nil)
    let real = try load(workers, security, segments, rate: settings.rate)
    let latencies = real.latencies.sorted()
    let megabytes = Double(fast.bytes) / fast.seconds * 1e-6
    return Result(
      workers: workers, security: security, joinSeconds: fast.joinSeconds,
      trajectoriesPerSecond: Double(fast.trajectories) / fast.seconds, megabytesPerSecond: megabytes,
      microsecondsPerTrajectory: fast.learnerSeconds / Double(max(1, fast.trajectories)) * 1e6,
      libraryMicrosecondsPerTrajectory: fast.librarySeconds / Double(max(1, fast.trajectories)) * 1e6,
      fractionOfLoopback: megabytes / loopback,
      realisticTrajectoriesPerSecond: Double(real.trajectories) / real.seconds,
      realisticCoreShare: real.learnerSeconds / real.seconds,
      realisticLibraryCoreShare: real.librarySeconds / real.seconds,
      announcementMedianMilliseconds: latencies.isEmpty ? 0 : latencies[latencies.count / 2] * 1e3,
      announcementSlowestMilliseconds: (latencies.last ?? 0) * 1e3,
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
    var latencies: [Double] = []
    var lostTrajectories = 0
    var lostSessions = 0
    var repeatedResults = 0
  }

  private func load(_ workers: Int, _ security: String, _ segments: [Segment], rate: Double?) throws -> Load {
    let (server, clients) = try securities(security, workers: workers)
    var options = LearnerFrontEndOptions(runID: "bench-transport", model: Self.model)
    options.controlEndpoint = "tcp://127.0.0.1:0"
    options.announcementEndpoint = "tcp://127.0.0.1:0"
    options.security = server
    // Versions come and go here, and no result is too old.
    options.maxStaleness = 1 << 20
    options.heartbeatInterval = .seconds(2)
    options.livenessTimeout = .seconds(30)
    options.leaseDuration = .seconds(60)
    let frontEnd = try LearnerFrontEnd(options, logger: logger)
    defer { frontEnd.shutdown(reason: "measured", within: .seconds(5)) }
    var version = try publish(nil, to: frontEnd, times: nil)

    let credits = rate.map { max(1, Int($0 * 2)) } ?? settings.credits
    let trainer = SyntheticTrainer(frontEnd, workers: workers, credits: credits)
    try trainer.fill()
    let start = MonotonicClock.now()
    let fleet = try SyntheticFleet(
      SyntheticFleet.Options(
        workers: workers, threads: min(settings.threads, workers), credits: credits, rate: rate,
        endpoint: frontEnd.controlEndpoint, segments: segments, security: clients))
    defer { fleet.stop() }
    while try fleet.counters().joined < workers {
      try trainer.turn()
      guard MonotonicClock.now() - start < .seconds(60) else {
        throw ClusterError("only \(try fleet.counters().joined) of \(workers) synthetic workers joined within a minute")
      }
    }
    var result = Load()
    result.joinSeconds = (MonotonicClock.now() - start).inSeconds
    // Past the burst of the beginning.
    try trainer.turn(until: MonotonicClock.now() + .seconds(0.3))

    let before = (try fleet.counters(), ThreadUsage.learner, ThreadUsage.library, MonotonicClock.now())
    let end = before.3 + .seconds(settings.seconds)
    while MonotonicClock.now() < end {
      try trainer.turn(until: min(end, MonotonicClock.now() + .seconds(settings.seconds / 8)))
      version = try publish(version, to: frontEnd, times: fleet.publications)
    }
    let after = (try fleet.counters(), ThreadUsage.learner, ThreadUsage.library, MonotonicClock.now())
    result.seconds = (after.3 - before.3).inSeconds
    result.trajectories = after.0.acknowledged - before.0.acknowledged
    result.bytes = after.0.sentBytes - before.0.sentBytes
    result.learnerSeconds = after.1 - before.1
    result.librarySeconds = after.2 - before.2

    // Everything that was sent must be acknowledged, and accepted once.
    trainer.isClosed = true
    let deadline = MonotonicClock.now() + .seconds(30)
    var last = try fleet.counters()
    while MonotonicClock.now() < deadline {
      try trainer.turn(until: MonotonicClock.now() + .seconds(0.2))
      let now = try fleet.counters()
      let isQuiet = now.sent == last.sent && now.acknowledged == now.sent
      last = now
      if isQuiet || rate != nil { break }
    }
    let statistics = frontEnd.statistics()
    result.latencies = last.latencies
    result.lostTrajectories = rate == nil ? last.sent - last.acknowledged : 0
    // A sample lent twice on purpose, near the end, comes back twice.
    result.repeatedResults =
      max(0, statistics.duplicateResults - statistics.hedgedSamples) + statistics.staleResults
      + statistics.unknownResults + statistics.requeuedSamples
    result.lostSessions = last.lost + statistics.lostSessions
    return result
  }

  /// A version of one small chunk, chained to the one before.
  private func publish(
    _ parent: WeightSnapshot?, to frontEnd: LearnerFrontEnd, times: PublicationTimes?
  ) throws -> WeightSnapshot {
    let version = parent.map { $0.version + 1 } ?? 0
    let snapshot = try WeightSnapshot(
      version: version, parent: parent?.description.identity ?? .zero, byteCount: 4096
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
  private var outstanding = 0
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
          policy: ThinkingPolicy(), options: SamplingOptions(maxThinkingTokens: 8192, maxAnswerTokens: 64),
          noiseSeed: 1)
      })
    next += count
    outstanding += count
  }

  func turn() throws {
    if try frontEnd.nextGroup(within: .milliseconds(5)) != nil { outstanding -= 1 }
    if outstanding < wanted * 3 / 4 { try fill() }
  }

  func turn(until deadline: Duration) throws { while MonotonicClock.now() < deadline { try turn() } }
}
