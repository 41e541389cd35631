import Machine
import Synchronization
import Testing
import TestSupport
import Trajectories
import Transport
import WeightSync
import Wire

@testable import FrontEnd
@testable import Gradients
@testable import Relay
@testable import Sessions
@testable import WorkerLink

/// A relay on a thread of its own.
final class RunningRelay: Sendable {
  let service: RelayService
  private let failure = Mutex<String?>(nil)
  private let thread = Mutex<IOThread?>(nil)
  private let stop = StopSignal()

  init(
    _ upstream: [String], name: String = "relay", at endpoint: String = "tcp://127.0.0.1:0",
    memory: (@Sendable () -> Int?)? = nil, beforeApplying: (@Sendable () -> Void)? = nil
  ) throws {
    var options = RelayServiceOptions(
      attachments: upstream.map { Attachment(endpoint: $0) }, name: name, controlEndpoint: endpoint,
      announcementEndpoint: "tcp://127.0.0.1:0")
    options.link.firstRetry = .milliseconds(20)
    options.link.longestRetry = .milliseconds(100)
    options.link.handshakeTimeout = .milliseconds(500)
    if let memory { options.availableMemory = memory }
    options.link.beforeApplying = beforeApplying
    service = try RelayService(options, stop: stop, logger: quiet)
    let relay = self
    let thread = try IOThread(name: "relay") {
      do { try relay.service.run() } catch { relay.failure.withLock { $0 = "\(error)" } }
    }
    self.thread.withLock { $0 = thread }
  }

  var error: String? { failure.withLock { $0 } }

  /// Where workers connect, once there is something above.
  func endpoint() throws -> String {
    #expect(eventually { service.frontEnd != nil })
    return try #require(service.frontEnd).controlEndpoint
  }

  func drain() { stop.request() }

  func join() { thread.withLock { $0 }?.join() }
}

@Suite(.serialized) struct RelayTests {
  /// What a learner keeps of a run, without what measures time.
  private func samples(_ groups: [CompletedGroup]) -> [[CollectedTrajectory]] {
    groups.map { group in
      group.samples.map { sample in
        var sample = sample
        sample.elapsedMicroseconds = 0
        sample.workerName = ""
        (sample.party, sample.sender) = (nil, nil)
        return sample
      }
    }
  }

  private func fingerprinted(_ endpoint: String, _ name: String, capacity: Int = 4) -> WorkerLinkOptions {
    var options = workerOptions(endpoint, name: name, capacity: capacity)
    options.fingerprint = "fingerprint of \(name)"
    options.handshakeTimeout = .milliseconds(500)
    return options
  }

  @Test func wholeGroupsComeThroughAsTheyWere() throws {
    var results: [[[CollectedTrajectory]]] = []
    for isRelayed in [false, true] {
      let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
      defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
      let relay = isRelayed ? try RunningRelay([frontEnd.controlEndpoint]) : nil
      let endpoint = try relay?.endpoint() ?? frontEnd.controlEndpoint
      let workers = try (0..<2).map { try FakeWorker(workerOptions(endpoint, name: "worker-\($0)")) }
      var groups: [CompletedGroup] = []
      var snapshot: WeightSnapshot?
      for version in 0..<3 {
        let next = try weights(version, after: snapshot)
        snapshot = next
        try frontEnd.publish(next)
        try frontEnd.submit(promptGroups(version * 10..<version * 10 + 10))
        groups += try frontEnd.collect(groupCount: 10, within: .seconds(30))
      }
      results.append(samples(groups))
      let statistics = frontEnd.statistics()
      #expect(
        statistics.leases.accepted == 120 && statistics.counters.malformedMessages == 0)
      // The workers that drew them are known by name, not the relay.
      #expect(Set(groups.flatMap(\.samples).map(\.workerName)).isSubset(of: ["worker-0", "worker-1"]))
      if relay != nil { #expect(statistics.workers.map(\.name) == ["relay"]) }
      for worker in workers { #expect(eventually { worker.log.withLock { $0.versions.last } == 2 }) }
      #expect(frontEnd.shutdown(reason: "test is over", within: .seconds(10)))
      // The end of the run goes through, too.
      for worker in workers { #expect(eventually { worker.log.withLock { $0.shutdownReason } == "test is over" }) }
      relay?.join()
      #expect(relay?.error == nil)
    }
    #expect(results[0] == results[1])
  }

  @Test func eachSampleCarriesItsWorkersFingerprint() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    // Two relays in a row: the origin is that of the leaf.
    let upper = try RunningRelay([frontEnd.controlEndpoint], name: "upper")
    let lower = try RunningRelay([upper.endpoint()], name: "lower")
    let endpoint = try lower.endpoint()
    let workers = try ["a", "b"].map { try FakeWorker(fingerprinted(endpoint, $0)) }
    #expect(eventually { lower.service.frontEnd?.statistics().workers.count == 2 })
    try frontEnd.submit(promptGroups(0..<10))
    for sample in try frontEnd.collect(groupCount: 10, within: .seconds(30)).flatMap(\.samples) {
      #expect(["a", "b"].contains(sample.workerName))
      #expect(sample.fingerprint == "fingerprint of \(sample.workerName)")
    }
    _ = workers
  }

  @Test func theLearnersLinkDoesNotGrowWithTheWorkers() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let zero = try weights(0)
    try frontEnd.publish(zero)
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    let workers = try (0..<5).map { try FakeWorker(workerOptions(endpoint, name: "worker-\($0)")) }
    #expect(eventually { workers.allSatisfy { $0.log.withLock { $0.versions == [0] } } })
    try frontEnd.publish(weights(1, after: zero))
    #expect(eventually { workers.allSatisfy { $0.log.withLock { $0.versions.last == 1 } } })
    #expect(frontEnd.statistics().counters.weightBytesSent == 2 * 3_000_000)
    #expect(relay.service.frontEnd?.statistics().counters.weightBytesSent ?? 0 >= 5 * 3_000_000)
  }

  @Test func deltasArePassedOn() throws {
    let chain = try Chain(versions: 4, byteCount: 2_600_000)
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    let workers = try (0..<3).map { try FakeWorker(workerOptions(endpoint, name: "worker-\($0)")) }
    for index in 0..<4 {
      try frontEnd.publish(chain.snapshots[index], delta: chain.deltas[index])
      #expect(eventually { workers.allSatisfy { $0.log.withLock { $0.versions == Array(0...index) } } })
    }
    let deltas = chain.deltas[1..<4].reduce(0) { $0 + ($1?.bytes.count ?? 0) }
    #expect(frontEnd.statistics().counters.weightBytesSent == 2_600_000 + deltas)
    #expect(relay.service.frontEnd?.statistics().counters.weightBytesSent == 3 * (2_600_000 + deltas))
  }

  @Test func workersOfADeadRelayGoToTheLearner() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    func worker(_ index: Int) throws -> FakeWorker {
      var options = fingerprinted(endpoint, "worker-\(index)")
      options.alternatives = [Attachment(endpoint: frontEnd.controlEndpoint)]
      return try FakeWorker(options, holding: index == 0)
    }
    // One that holds what it has been lent, so that something is lost with the relay: first, or others do all the work.
    var workers = [try worker(0)]
    try frontEnd.submit(promptGroups(0..<40))
    #expect(eventually { workers[0].log.withLock { !$0.leases.isEmpty } })
    workers += [try worker(1), try worker(2)]
    #expect(eventually { frontEnd.statistics().leases.accepted >= 20 })
    relay.service.abort()
    relay.join()
    #expect(eventually { frontEnd.statistics().workers.map(\.name).sorted() == ["worker-0", "worker-1", "worker-2"] })
    #expect(eventually { workers.allSatisfy { $0.log.withLock { $0.joined } == 2 } })
    workers[0].kill()
    let groups = try frontEnd.collect(groupCount: 40, within: .seconds(60))
    #expect(groups.map(\.ordinal) == Array(0..<40) && groups.allSatisfy { $0.samples.count == 4 })
    #expect(frontEnd.statistics().leases.accepted == 160)
  }

  /// When the first place answers again its workers go back, and nothing is lost by it.
  @Test func workersGoBackToTheirRelay() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    let workers = try (0..<2).map { index in
      var options = fingerprinted(endpoint, "worker-\(index)")
      options.alternatives = [Attachment(endpoint: frontEnd.controlEndpoint)]
      options.returnInterval = .milliseconds(100)
      return try FakeWorker(options)
    }
    #expect(eventually { workers.allSatisfy { $0.log.withLock { $0.joined } == 1 } })
    relay.service.abort()
    relay.join()
    #expect(eventually { frontEnd.statistics().workers.map(\.name).sorted() == ["worker-0", "worker-1"] })
    let lost = frontEnd.statistics().counters.lostSessions
    try frontEnd.submit(promptGroups(0..<40))
    let second = try RunningRelay([frontEnd.controlEndpoint], at: endpoint)
    #expect(try second.endpoint() == endpoint)
    #expect(eventually { frontEnd.statistics().workers.map(\.name) == ["relay"] })
    #expect(try frontEnd.collect(groupCount: 40, within: .seconds(60)).count == 40)
    let statistics = frontEnd.statistics()
    #expect(statistics.leases.accepted == 160 && statistics.counters.lostSessions == lost)
    #expect(eventually { workers.allSatisfy { $0.log.withLock { $0.joined } == 3 } })
  }

  /// The learner's own death: the relay joins the next one, and with it its workers.
  @Test func aNewLearnerVoidsWhatTheWorkersHave() throws {
    var options = frontEndOptions()
    let first = try LearnerFrontEnd(options, logger: quiet)
    options.controlEndpoint = first.controlEndpoint
    try first.publish(weights(3))
    try first.submit(promptGroups(0..<2))
    let relay = try RunningRelay([first.controlEndpoint])
    let endpoint = try relay.endpoint()
    let worker = try FakeWorker(workerOptions(endpoint), holding: true)
    #expect(eventually { worker.log.withLock { !$0.leases.isEmpty } })
    first.abort()
    let second = try LearnerFrontEnd(options, logger: quiet)
    defer { second.shutdown(reason: "end", within: .seconds(5)) }
    #expect(eventually { worker.log.withLock { $0.joined >= 2 } })
    let before = worker.log.withLock { $0.leases.count }
    // An older version than before: resumed from a checkpoint.
    try second.publish(weights(2))
    try second.submit(promptGroups(0..<1))
    #expect(eventually { worker.log.withLock { $0.leases.count == before + 1 && $0.versions.last == 2 } })
    #expect(try relay.endpoint() == endpoint)
  }

  @Test func newVersionsAndTheLearnersCancellationsReachTheWorkers() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let zero = try weights(0)
    try frontEnd.publish(zero)
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let worker = try FakeWorker(workerOptions(relay.endpoint()), holding: true)
    try frontEnd.submit(promptGroups(0..<1))
    #expect(eventually { worker.log.withLock { $0.leases.count == 1 } })
    try frontEnd.publish(weights(1, after: zero))
    #expect(eventually { worker.log.withLock { $0.cancelled.count == 1 && $0.leases.count == 2 } })
    #expect(worker.log.withLock { $0.leases.map(\.policyVersions) } == [0...0, 1...1])
    #expect(worker.log.withLock { $0.leases[1].groupOrdinal == 0 && $0.leases[1].sampleIndices == [0, 1, 2, 3] })
  }

  /// Deltas pass through before they are applied; whoever joins meanwhile gets the version before and them; and samples of
  /// workers that were faster are taken.
  @Test func deltasArePassedOnBeforeTheyAreApplied() throws {
    let chain = try Chain(versions: 3, byteCount: 3_000_000)
    let frontEnd = try LearnerFrontEnd(frontEndOptions(maxStaleness: 2), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(chain.snapshots[0])
    let gate = Gate()
    let upper = try RunningRelay([frontEnd.controlEndpoint], name: "upper", beforeApplying: { gate.wait() })
    let endpoint = try upper.endpoint()
    let lower = try RunningRelay([endpoint], name: "lower", beforeApplying: { gate.wait() })
    let worker = try FakeWorker(workerOptions(try lower.endpoint()))
    #expect(eventually { worker.log.withLock { $0.versions } == [0] })
    try frontEnd.publish(chain.snapshots[1], delta: chain.deltas[1])
    #expect(eventually { worker.log.withLock { $0.versions } == [0, 1] })
    let late = try FakeWorker(workerOptions(endpoint, name: "late"))
    #expect(eventually { late.log.withLock { $0.versions } == [0, 1] })
    #expect(upper.service.frontEnd?.currentVersion?.version == 0)
    try frontEnd.submit(promptGroups(0..<4))
    let groups = try frontEnd.collect(groupCount: 4, within: .seconds(30))
    #expect(groups.flatMap(\.samples).allSatisfy { $0.trajectory.policyVersion == 1 })
    #expect(frontEnd.statistics().staleResults == 0 && frontEnd.statistics().counters.lostSessions == 0)
    gate.open()
    #expect(
      eventually {
        [upper, lower].allSatisfy { $0.service.frontEnd?.currentVersion?.leaves == chain.snapshots[1].leaves }
      })
    try frontEnd.publish(chain.snapshots[2], delta: chain.deltas[2])
    #expect(eventually { [worker, late].allSatisfy { $0.log.withLock { $0.versions } == [0, 1, 2] } })
  }

  /// Credits follow the workers: what those that left do not finish goes back to the learner and to others.
  @Test func samplesOfWorkersThatLeaveGoBackUp() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    let holders = try (0..<2).map {
      try FakeWorker(workerOptions(endpoint, name: "holder-\($0)", capacity: 6), holding: true)
    }
    try frontEnd.submit(promptGroups(0..<3))
    #expect(eventually { frontEnd.statistics().leasedSamples == 12 })
    for holder in holders { holder.kill() }
    #expect(eventually { frontEnd.statistics().queuedSamples == 12 })
    #expect(eventually { frontEnd.statistics().workers.first?.credits == 0 })
    // The relay's session is as it was.
    #expect(frontEnd.statistics().counters.lostSessions == 0 && relay.service.frontEnd?.relayLoad == RelayLoad())
    let other = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "other"))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    _ = other
  }

  @Test func aHostileWorkerCostsOnlyItsOwnSession() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    let socket = try Socket(.dealer, context: TransportContext())
    try socket.connect(Endpoint(endpoint))
    let hello = Hello(workerName: "cheat", incarnation: 7, hostname: "h", processID: 1, threads: 1, fingerprint: "")
    // Nothing is taken before the connection stands.
    #expect(try eventually { try socket.send(Envelope(.hello(hello)).encoded()) == .sent })
    #expect(eventually { relay.service.frontEnd?.statistics().workers.map(\.name) == ["cheat"] })
    #expect(try socket.send([[1, 2, 3]]) == .sent)
    #expect(eventually { relay.service.frontEnd?.statistics().counters.malformedMessages == 1 })
    let worker = try FakeWorker(workerOptions(endpoint))
    try frontEnd.submit(promptGroups(0..<3))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    #expect(frontEnd.statistics().counters.malformedMessages == 0 && frontEnd.statistics().counters.lostSessions == 0)
    _ = worker
  }

  @Test func drainingDeliversWhatWasBegun() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    var options = workerOptions(try relay.endpoint())
    options.alternatives = [Attachment(endpoint: frontEnd.controlEndpoint)]
    let worker = try FakeWorker(options)
    try frontEnd.submit(promptGroups(0..<20))
    relay.drain()
    relay.join()
    #expect(relay.error == nil)
    #expect(try frontEnd.collect(groupCount: 20, within: .seconds(30)).count == 20)
    #expect(frontEnd.statistics().leases.accepted == 80 && frontEnd.statistics().counters.lostSessions == 0)
    _ = worker
  }

  @Test func loopsAreRefused() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    try frontEnd.publish(weights(0))
    let relay = try RunningRelay([frontEnd.controlEndpoint])
    let endpoint = try relay.endpoint()
    // A relay below it that, when the learner is gone, would be all there is above.
    let lower = try RunningRelay([endpoint], name: "lower")
    _ = try lower.endpoint()
    let path = try #require(lower.service.frontEnd?.options.relay?.path)
    #expect(path == [relay.service.incarnation, lower.service.incarnation])
    // To its own front end.
    var options = workerOptions(endpoint)
    options.waitingNotice = .seconds(1)
    let shared = try SharedWorkerLink(capacity: 1, incarnation: relay.service.incarnation)
    let loop = try WorkerLoop(options, shared: shared, logger: quiet)
    let thread = try IOThread(name: "loop") { loop.run() }
    #expect(shared.events.take(within: .milliseconds(500)) == nil)
    #expect(!shared.state.withLock { $0.isConnected })
    shared.state.withLock { $0.ending = .abort }
    shared.waker.wake()
    thread.join()
    frontEnd.shutdown(reason: "end", within: .seconds(5))
  }
}
