import Kernels
import Logging
import Machine
import Testing
import TestSupport
import Transport
import WeightSync
import Wire

@testable import FrontEnd
@testable import WeightExchange
@testable import WorkerLink

private let team = ThreadTeam(threadCount: 1)

/// A learner that publishes a version every so often and a worker that pulls them over a link of so many bytes a second, in
/// made-up time.
private struct PacedPull {
  enum Event {
    case publish(Int)
    case heartbeat
    case arrival(Message)
  }

  var pull = WeightPull()
  var store = VersionStore()
  var now: Duration = .zero
  let bytesPerSecond: Double
  var linkIsFree: Duration = .zero
  var waiting: [(at: Duration, event: Event)] = []
  /// When which version came, and how many versions behind the newest it was then.
  var arrivals: [(version: Int, lag: Int, at: Duration)] = []
  /// Bytes of weights that the link carried.
  var carried = 0

  init(bytesPerSecond: Double, maxStaleness: Int) {
    self.bytesPerSecond = bytesPerSecond
    pull.pace.maxStaleness = maxStaleness
  }

  private mutating func ask(_ requests: [Message]) throws {
    var requests = requests
    if let job = pull.takeJob() {
      let target = try job.parent.applying(job.deltas, to: job.target, team: team)
      requests += try pull.applied(job.number, .success(target), now: now, logger: quiet)
    }
    if let held = pull.inHand, arrivals.last?.version != held.version {
      arrivals.append((held.version, try #require(store.current).version - held.version, now))
    }
    for request in requests {
      switch request {
      case .pullPlan(let held):
        if let plan = store.plan(holding: try Digest(held)) { send(.weightPlan(WeightPlanDescription(plan)), 0) }
      case .pullManifest(let version, let isDelta):
        if let weights = store.served(version: version, isDelta: isDelta, now: now) {
          send(.manifest(WeightManifest(version: version, leaves: weights.manifest, isDelta: isDelta)), 0)
        } else {
          send(.weightsUnavailable(version: version, isDelta: isDelta), 0)
        }
      case .pullWeights(let pull):
        guard let weights = store.served(version: pull.version, isDelta: pull.isDelta, now: now) else {
          send(.weightsUnavailable(version: pull.version, isDelta: pull.isDelta), 0)
          break
        }
        for index in pull.firstChunk..<pull.firstChunk + pull.count {
          let bytes = try #require(weights.chunk(index))
          send(
            .weightsChunk(WeightsChunk(version: pull.version, index: index, bytes: bytes, isDelta: pull.isDelta)),
            bytes.count)
        }
      default: Issue.record("\(request.name) is not expected")
      }
    }
  }

  /// One after the other over the link, 10 ms at least.
  private mutating func send(_ message: Message, _ byteCount: Int) {
    linkIsFree = max(linkIsFree, now) + .seconds(Double(byteCount) / bytesPerSecond)
    carried += byteCount
    waiting.append((linkIsFree + .milliseconds(10), .arrival(message)))
  }

  /// Publishes `chain`, one version each `step`, from the number that comes next; heartbeats come in between.
  mutating func run(_ chain: Chain, _ versions: Range<Int>, each step: Duration, withDeltas: Bool) throws {
    let start = now
    for (position, version) in versions.enumerated() { waiting.append((start + step * position, .publish(version))) }
    let end = start + step * versions.count
    for beat in 1..<max(2, Int(end.inSeconds - start.inSeconds)) {
      waiting.append((start + .seconds(beat) + .milliseconds(5), .heartbeat))
    }
    while let next = waiting.indices.min(by: { waiting[$0].at < waiting[$1].at }), waiting[next].at < end {
      let (at, event) = waiting.remove(at: next)
      now = at
      switch event {
      case .publish(let version):
        try store.publish(
          chain.snapshots[version], deltas: withDeltas ? [chain.deltas[version]].compactMap { $0 } : [], now: now)
        try announce()
      case .heartbeat: try announce()
      case .arrival(.weightPlan(let plan)): try ask(pull.receive(plan, now: now))
      case .arrival(.manifest(let manifest)): try ask(pull.receive(manifest, now: now, logger: quiet))
      case .arrival(.weightsChunk(let chunk)): try ask(pull.receive(chunk, now: now, logger: quiet))
      case .arrival(.weightsUnavailable(let version, let isDelta)):
        try ask(pull.unavailable(version: version, isDelta: isDelta, now: now, logger: quiet))
      case .arrival(let message): Issue.record("\(message.name) is not expected")
      }
    }
    now = end
  }

  private mutating func announce() throws {
    guard let announcement = store.announcement else { return }
    try ask(pull.announced(announcement, isAuthoritative: true, limit: 1 << 40, now: now))
  }
}

/// Versions that come faster than a link carries one.
@Suite struct NarrowLinkTests {
  /// A version takes 25 s.
  private let byteCount = 2_500_000
  private let rate = 100_000.0

  /// Without deltas: each version is finished while it is fresh enough, and then the newest is begun.
  @Test func finishesWhatItBegan() throws {
    let chain = try Chain(versions: 40, byteCount: byteCount)
    var link = PacedPull(bytesPerSecond: rate, maxStaleness: 3)
    try link.run(chain, 0..<40, each: .seconds(10), withDeltas: false)
    // One version each 25 s of 400 s.
    #expect(link.arrivals.count >= 14 && link.arrivals.allSatisfy { $0.lag <= 3 }, "\(link.arrivals)")
    #expect(link.pull.pace.narrowness == nil)
    #expect(link.arrivals.last.map { $0.version >= 34 } == true)
  }

  /// On policy nothing that needs more than a step is of use: said once, tried ever more rarely, and in time when steps get
  /// slower.
  @Test func waitsWhenNothingWouldBeFreshEnough() throws {
    let chain = try Chain(versions: 210, byteCount: byteCount)
    var link = PacedPull(bytesPerSecond: rate, maxStaleness: 0)
    try link.run(chain, 0..<200, each: .seconds(10), withDeltas: false)
    #expect(link.arrivals.isEmpty)
    let figures = try #require(link.pull.pace.narrowness)
    #expect(abs(figures.transfer.inSeconds - 25) < 3 && figures.step == .seconds(10), "\(figures)")
    // 2,000 s would carry 200 MB.
    #expect(link.carried < 60_000_000, "\(link.carried)")
    let before = link.carried
    try link.run(chain, 200..<204, each: .seconds(60), withDeltas: false)
    #expect(link.arrivals.last?.version == 203 && link.pull.pace.narrowness == nil)
    #expect(link.carried - before < 5 * byteCount)
  }

  /// Deltas that the link can follow: the version that was begun is finished, however old, and the deltas since follow.
  @Test func catchesUpByDeltas() throws {
    let chain = try Chain(versions: 40, byteCount: byteCount)
    var link = PacedPull(bytesPerSecond: rate, maxStaleness: 0)
    try link.run(chain, 0..<40, each: .seconds(2), withDeltas: true)
    #expect(link.arrivals.map(\.version).prefix(1) == [0] && link.pull.pace.narrowness == nil)
    #expect(link.arrivals.suffix(5).map(\.lag) == [0, 0, 0, 0, 0], "\(link.arrivals)")
    #expect(link.carried < 2 * byteCount)
  }

  /// What has come so far may have come slowly: a version that is less behind than the one before is not in vain.
  @Test func catchesUpAfterAStall() {
    var pace = VersionPace()
    pace.announced(0, now: .zero)
    for version in 1...60 { pace.announced(version, now: .seconds(Double(version) * 0.25)) }
    pace.began(now: .zero)
    pace.received(900_000, now: .seconds(15))
    // 60 kB/s so far, with which deltas of 24 kB each quarter of a second cannot be followed.
    for (index, lag) in [16, 7, 6, 4, 1].enumerated() {
      let now = Duration.seconds(15 + index)
      pace.arrived(lag: lag, byteCount: 900_000, delta: 24_000, now: now)
      pace.began(now: now)
      pace.received(30_000, now: now + .seconds(0.9))
    }
    #expect(pace.narrowness == nil)
    for index in 0..<3 { pace.arrived(lag: 2, byteCount: 900_000, delta: 24_000, now: .seconds(21 + index)) }
    #expect(pace.narrowness != nil)
  }

  /// Deltas that are larger than what the link carries in a step.
  @Test func deltasThatAreTooManyAreNoWay() throws {
    let chain = try Chain(versions: 100, byteCount: byteCount, changes: 60_000)
    let delta = try #require(chain.deltas[1]).bytes.count
    // Nine tenths of a delta a step.
    let step = Duration.seconds(0.9 * Double(delta) / rate)
    var link = PacedPull(bytesPerSecond: rate, maxStaleness: 0)
    try link.run(chain, 0..<100, each: step, withDeltas: true)
    #expect(link.pull.pace.narrowness != nil)
    #expect(Double(link.carried) < 0.9 * rate * step.inSeconds * 100, "\(link.carried)")
    // With samples as old as the chain allows, versions arrive.
    let steps = Int(Double(byteCount) / rate / step.inSeconds) + 1
    var patient = PacedPull(bytesPerSecond: rate, maxStaleness: steps)
    try patient.run(chain, 0..<100, each: step, withDeltas: true)
    #expect(patient.pull.pace.narrowness == nil && patient.arrivals.count >= 2, "\(patient.arrivals)")
    #expect(patient.arrivals.allSatisfy { $0.lag <= steps })
  }

  /// A reconnection is no measure of the link.
  @Test func anOutageIsNoNarrowness() throws {
    var pace = VersionPace()
    pace.announced(0, now: .zero)
    pace.announced(1, now: .seconds(10))
    pace.began(now: .seconds(10))
    pace.received(1_000_000, now: .seconds(11))
    pace.reconnected(now: .seconds(3000))
    pace.received(1_000_000, now: .seconds(3001))
    pace.announced(301, now: .seconds(3010))
    for _ in 0..<5 { pace.gaveUp(byteCount: 5_000_000, now: .seconds(3010)) }
    #expect(pace.narrowness == nil)
    pace.gaveUp(byteCount: 500_000_000, now: .seconds(3010))
    #expect(pace.narrowness != nil)
  }
}

/// Over real sockets: how much of the weights passes is the test's to say, not the clock's.
@Suite(.serialized) struct NarrowLinkFleetTests {
  private func count(_ text: String, in log: LogLines) -> Int { log.all.count { $0.contains(text) } }

  @Test func aVersionThatIsOvertakenArrives() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(maxStaleness: 3), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let relay = try FaultyRelay(frontEnd.controlEndpoint, allowedChunks: 3)
    defer { relay.stop() }
    var versions = [try weights(0)]
    try frontEnd.publish(versions[0])
    let worker = try FakeWorker(workerOptions(relay.endpoint))
    for number in 1...3 {
      #expect(eventually { relay.passedChunks == 3 * number })
      versions.append(try weights(number, after: versions.last))
      try frontEnd.publish(versions[number])
      relay.allowChunks(3)
    }
    // Version 0 has 12 chunks.
    #expect(eventually { worker.log.withLock { $0.versions } == [0] })
    try frontEnd.submit(promptGroups(0..<2))
    #expect(try frontEnd.collect(groupCount: 2, within: .seconds(30)).count == 2)
    relay.allowChunks(100)
    #expect(eventually { worker.log.withLock { $0.versions } == [0, 3] })
  }

  @Test func aWorkerThatIsNeverFreshSaysSoAndTakesNoWork() throws {
    let (learnerLog, workerLog) = (LogLines(), LogLines())
    let frontEnd = try LearnerFrontEnd(
      frontEndOptions(), logger: Logger(label: "learner") { _ in CapturingLogHandler(lines: learnerLog) })
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let relay = try FaultyRelay(frontEnd.controlEndpoint, allowedChunks: 0)
    defer { relay.stop() }
    try frontEnd.submit(promptGroups(0..<2))
    var version = try weights(0)
    try frontEnd.publish(version)
    let worker = try FakeWorker(
      workerOptions(relay.endpoint, name: "far-away"),
      logger: Logger(label: "worker") { _ in CapturingLogHandler(lines: workerLog) })
    var number = 0
    // A chunk of twelve comes between one version and the next.
    #expect(
      try eventually {
        if worker.link.isConnected {
          let passed = relay.passedChunks
          relay.allowChunks(1)
          guard eventually({ relay.passedChunks > passed || count("versions come faster", in: workerLog) > 0 }) else {
            return false
          }
          number += 1
          version = try weights(number % 200, after: version, number: number)
          try frontEnd.publish(version)
        }
        return frontEnd.statistics().workers.first.map { $0.narrowLinkBytesPerSecond > 0 } ?? false
      })
    #expect(count("versions come faster than this link carries them: a version of 3000000 bytes", in: workerLog) == 1)
    #expect(count("worker far-away cannot keep up with the versions", in: learnerLog) == 1)
    // What it was lent goes back, and its credits are used up.
    #expect(
      eventually {
        let statistics = frontEnd.statistics()
        return statistics.leasedSamples == 0 && statistics.queuedSamples == 8 && statistics.workers[0].credits == 0
      })
    // Versions stop coming: there is time for one.
    relay.allowChunks(1000)
    #expect(try frontEnd.collect(groupCount: 2, within: .seconds(60)).count == 2)
    #expect(count("keeps up with the versions again", in: workerLog) == 1)
    #expect(eventually { count("worker far-away keeps up with the versions again", in: learnerLog) == 1 })
  }
}
