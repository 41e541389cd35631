import Logging
import Synchronization
import Testing
import TestSupport
import Trajectories
import Transport
import WeightSync
import Wire

@testable import FrontEnd
@testable import Sessions

@Suite(.serialized) struct LearnerAndWorkersTests {
  private func expectWhole(_ groups: [CompletedGroup], _ ordinals: Range<Int>, sampleCount: Int = 4, version: Int) {
    #expect(groups.map(\.ordinal) == Array(ordinals))
    for group in groups {
      #expect(group.samples.map(\.trajectory.sampleIndex) == Array(0..<sampleCount))
      for sample in group.samples {
        #expect(sample.trajectory.groupID == group.ordinal && sample.trajectory.promptID == "prompt-\(group.ordinal)")
        #expect(sample.trajectory.policyVersion == version)
        #expect(sample.fingerprint == "test fingerprint")
        guard case .soft(let soft) = sample.trajectory.segments[0] else {
          Issue.record("the first segment is not soft")
          continue
        }
        // The engine really computed with that version.
        #expect(soft.values.elements[1] == Float(version))
      }
    }
  }

  @Test func threeOnPolicySteps() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    let workers = try (0..<3).map { try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "worker-\($0)")) }
    #expect(eventually { frontEnd.statistics().workers.count == 3 })
    var snapshot: WeightSnapshot?
    for version in 0..<3 {
      let next = try weights(version, after: snapshot)
      snapshot = next
      try frontEnd.publish(next)
      let ordinals = version * 10..<version * 10 + 10
      try frontEnd.submit(promptGroups(ordinals))
      expectWhole(try frontEnd.collect(groupCount: 10, within: .seconds(30)), ordinals, version: version)
    }
    let statistics = frontEnd.statistics()
    #expect(
      statistics.leases.accepted == 120 && statistics.staleResults == 0 && statistics.counters.malformedMessages == 0)
    #expect(statistics.queuedSamples == 0 && statistics.leasedSamples == 0 && statistics.workers.count == 3)
    #expect(statistics.counters.weightBytesSent >= 3_000_000)

    #expect(frontEnd.shutdown(reason: "test is over", within: .seconds(10)))
    for worker in workers {
      #expect(eventually { worker.log.withLock { $0.isOver } })
      #expect(worker.log.withLock { $0.shutdownReason } == "test is over")
    }
    #expect(throws: RoleError.self) { try frontEnd.nextGroup(within: .seconds(1)) }
  }

  @Test func killedWorkersSamplesAreGrantedAgain() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let victim = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "victim", capacity: 6), holding: true)
    try frontEnd.submit(promptGroups(0..<4))
    #expect(eventually { victim.log.withLock { !$0.leases.isEmpty } })
    #expect(frontEnd.statistics().leasedSamples == 6)
    victim.kill()
    let survivors = try (0..<2).map { try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "survivor-\($0)")) }
    expectWhole(try frontEnd.collect(groupCount: 4, within: .seconds(30)), 0..<4, version: 0)
    let statistics = frontEnd.statistics()
    // Whichever is noticed first: that its connection is gone, or that it finishes nothing.
    #expect(statistics.leases.accepted == 16 && statistics.leases.requeued + statistics.leases.hedged >= 6)
    #expect(eventually { frontEnd.statistics().counters.lostSessions == 1 })
    _ = survivors
  }

  /// More leases, results and acknowledgements at once than any socket's queue takes: they wait, and the session lives on.
  @Test func burstsCostNobodyTheSession() throws {
    var options = frontEndOptions()
    // A busy machine must not look like a lost worker here.
    options.livenessTimeout = .seconds(60)
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint, capacity: 4000))
    try frontEnd.submit(promptGroups(0..<4000, sampleCount: 1))
    expectWhole(try frontEnd.collect(groupCount: 4000, within: .seconds(60)), 0..<4000, sampleCount: 1, version: 0)
    let statistics = frontEnd.statistics()
    #expect(statistics.leases.accepted == 4000 && statistics.leases.granted == 4000)
    #expect(
      statistics.counters.lostSessions == 0 && statistics.leases.requeued == 0 && statistics.leases.duplicate == 0)
    #expect(worker.log.withLock { $0.joined == 1 && $0.disconnected == 0 && $0.leases.count == 4000 })
  }

  @Test func lateJoinerPullsTheCurrentVersion() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let zero = try weights(0)
    try frontEnd.publish(zero)
    try frontEnd.publish(weights(1, after: zero))
    try frontEnd.submit(promptGroups(0..<2))
    let late = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "late"))
    expectWhole(try frontEnd.collect(groupCount: 2, within: .seconds(30)), 0..<2, version: 1)
    #expect(late.log.withLock { $0.versions } == [1])
  }

  @Test func workerStartedFirstWaitsAndSaysSo() throws {
    // Reserve a port, then free it for the learner.
    var endpoint = ""
    do {
      let socket = try Socket(.router, context: TransportContext())
      endpoint = try socket.bind(Endpoint("tcp://127.0.0.1:0")).description
    }
    let lines = Mailbox<String>()
    let worker = try FakeWorker(
      workerOptions(endpoint), logger: Logger(label: "worker") { _ in LineLogHandler(lines: lines) })
    var heard = ""
    #expect(
      eventually {
        heard += lines.takeAll().joined(separator: "\n")
        return heard.contains("waiting for the learner at \(endpoint)")
      })
    #expect(!worker.link.isConnected)
    var options = frontEndOptions()
    options.controlEndpoint = endpoint
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<2))
    expectWhole(try frontEnd.collect(groupCount: 2, within: .seconds(30)), 0..<2, version: 0)
  }

  @Test func restartedLearnerIsJoinedAnew() throws {
    var options = frontEndOptions()
    let first = try LearnerFrontEnd(options, logger: quiet)
    options.controlEndpoint = first.controlEndpoint
    try first.publish(weights(0))
    try first.submit(promptGroups(0..<2))
    let worker = try FakeWorker(workerOptions(first.controlEndpoint), holding: true)
    #expect(eventually { worker.log.withLock { !$0.leases.isEmpty } })
    first.abort()

    let second = try LearnerFrontEnd(options, logger: quiet)
    defer { second.shutdown(reason: "end", within: .seconds(5)) }
    #expect(eventually { worker.log.withLock { $0.joined == 2 && $0.disconnected >= 1 } })
    // The old learner's leases are void: capacity is free for the new one's.
    let before = worker.log.withLock { $0.leases.count }
    try second.publish(weights(0))
    try second.submit(promptGroups(0..<1))
    #expect(eventually { worker.log.withLock { $0.leases.count == before + 1 } })
  }

  @Test func staleSamplesAreDroppedCountedAndSampledAgain() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(maxStaleness: 1), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let zero = try weights(0)
    try frontEnd.publish(zero)
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint))
    try frontEnd.submit(promptGroups(0..<2))
    #expect(eventually { frontEnd.statistics().leases.accepted == 8 })
    // Nobody took the groups; two versions later their samples are too old.
    let one = try weights(1, after: zero)
    try frontEnd.publish(one)
    #expect(frontEnd.statistics().staleResults == 0)
    try frontEnd.publish(weights(2, after: one))
    #expect(frontEnd.statistics().staleResults == 8)
    let groups = try frontEnd.collect(groupCount: 2, within: .seconds(30))
    #expect(groups.flatMap(\.samples).allSatisfy { (1...2).contains($0.trajectory.policyVersion) })
    _ = worker
  }

  @Test func onPolicyLeasesAreCancelledByANewVersion() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let zero = try weights(0)
    try frontEnd.publish(zero)
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint), holding: true)
    try frontEnd.submit(promptGroups(0..<1))
    #expect(eventually { worker.log.withLock { $0.leases.count == 1 } })
    try frontEnd.publish(weights(1, after: zero))
    #expect(eventually { worker.log.withLock { $0.cancelled.count == 1 && $0.leases.count == 2 } })
    #expect(worker.log.withLock { $0.leases[1].policyVersions } == 1...1)
    #expect(worker.log.withLock { $0.versions } == [0, 1])
  }

  @Test func drainingWorkerFinishesAndLeaves() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    let leaving = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "leaving"))
    #expect(eventually { frontEnd.statistics().workers.count == 1 })
    leaving.link.drain()
    #expect(eventually { frontEnd.statistics().workers.first?.isDraining == true })
    try frontEnd.submit(promptGroups(0..<1))
    let staying = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "staying"))
    let groups = try frontEnd.collect(groupCount: 1, within: .seconds(30))
    #expect(groups[0].samples.allSatisfy { $0.workerName == "staying" })
    #expect(leaving.link.close(reason: "drained", within: .seconds(5)))
    #expect(eventually { frontEnd.statistics().workers.map(\.name) == ["staying"] })
    #expect(frontEnd.statistics().counters.lostSessions == 0)
    _ = staying
  }

  @Test func impossibleWorkIsRefusedAtTheDoor() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    var group = promptGroups(0..<1)[0]
    group.plan = CompletionPlan(thinking: 60, maxAnswerTokens: 4)
    let error = #expect(throws: RoleError.self) { try frontEnd.submit([group]) }
    #expect(error?.message.contains("exceed the context of 64") == true)
    group = promptGroups(0..<1)[0]
    group.prompt = [100]
    #expect(throws: RoleError.self) { try frontEnd.submit([group]) }
    let late = #expect(throws: RoleError.self) {
      try frontEnd.submit(promptGroups(0..<1))
      _ = try frontEnd.collect(groupCount: 1, within: .milliseconds(10))
    }
    #expect(late?.message.contains("Start workers that connect to") == true)
    var options = frontEndOptions()
    options.controlEndpoint = "tcp://0.0.0.0:0"
    #expect(throws: TransportError.self) { try LearnerFrontEnd(options, logger: quiet) }
  }
}

private struct LineLogHandler: LogHandler {
  let lines: Mailbox<String>
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.debug

  init(lines: Mailbox<String>) { self.lines = lines }

  subscript(metadataKey key: String) -> Logger.MetadataValue? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) { lines.put("\(event.message)\n") }
}
