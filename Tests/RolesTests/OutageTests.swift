import Logging
import Testing
import TestSupport
import Thinking
import Trajectories
import Transport
import WeightSync
import Wire

@testable import FrontEnd
@testable import WorkerLink

@Suite(.serialized) struct OutageTests {
  /// The next lease, and the weights that came before it.
  private func nextLease(_ link: WorkerLink) throws -> (Lease, WeightSnapshot)? {
    var snapshot: WeightSnapshot?
    while let event = try link.nextEvent(within: .seconds(20)) {
      if case .weights(let newest) = event { snapshot = newest }
      if case .lease(let lease) = event, let snapshot { return (lease, snapshot) }
    }
    return nil
  }

  @Test func resultsFinishedDuringAnOutageArriveAfterIt() throws {
    var options = frontEndOptions()
    options.livenessTimeout = .milliseconds(400)
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<1))
    let relay = try FaultyRelay(frontEnd.controlEndpoint)
    defer { relay.stop() }
    let link = try WorkerLink(workerOptions(relay.endpoint), logger: quiet)
    let found = try nextLease(link)
    let (lease, snapshot) = try #require(found)

    relay.isBlocked = true
    var isDisconnected = false
    while !isDisconnected, let event = try link.nextEvent(within: .seconds(20)) {
      if case .disconnected = event { isDisconnected = true }
    }
    #expect(isDisconnected)
    #expect(eventually { frontEnd.statistics().counters.lostSessions == 1 })
    for sample in lease.sampleIndices { try link.send(FakeWorker.result(lease, sample, snapshot)) }
    #expect(frontEnd.statistics().queuedSamples == 4)

    relay.isBlocked = false
    let groups = try frontEnd.collect(groupCount: 1, within: .seconds(20))
    #expect(groups.first?.samples.count == 4)
    #expect(link.close(reason: "end", within: .seconds(10)))
    #expect(frontEnd.statistics().leases.accepted == 4)
  }

  /// A worker that comes back with unfinished samples goes on with them.
  @Test func workUnderWayOutlastsTheSession() throws {
    var options = frontEndOptions()
    options.livenessTimeout = .milliseconds(400)
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<1))
    let relay = try FaultyRelay(frontEnd.controlEndpoint)
    defer { relay.stop() }
    let link = try WorkerLink(workerOptions(relay.endpoint), logger: quiet)
    let found = try nextLease(link)
    let (lease, snapshot) = try #require(found)
    relay.isBlocked = true
    #expect(eventually { frontEnd.statistics().counters.lostSessions >= 1 && frontEnd.statistics().queuedSamples == 4 })
    relay.isBlocked = false
    #expect(eventually { frontEnd.statistics().leases.reclaimed == 4 })
    #expect(frontEnd.statistics().queuedSamples == 0 && frontEnd.statistics().leasedSamples == 4)
    for sample in lease.sampleIndices { try link.send(FakeWorker.result(lease, sample, snapshot)) }
    let groups = try frontEnd.collect(groupCount: 1, within: .seconds(20))
    #expect(groups.first?.samples.count == 4)
    #expect(link.close(reason: "end", within: .seconds(10)))
    #expect(frontEnd.statistics().leases.accepted == 4 && frontEnd.statistics().leases.duplicate == 0)
  }

  /// A worker that lives, renews its leases and finishes nothing: an idle one does its samples, and it is told so.
  @Test func stuckWorkersAreHedged() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<1))
    let stuck = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "stuck"), holding: true)
    #expect(eventually { stuck.log.withLock { !$0.leases.isEmpty } })
    try frontEnd.submit(promptGroups(1..<4))
    let sound = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "sound"))
    let groups = try frontEnd.collect(groupCount: 4, within: .seconds(30))
    #expect(groups.flatMap(\.samples).count == 16)
    #expect(groups.flatMap(\.samples).allSatisfy { $0.workerName == "sound" })
    let statistics = frontEnd.statistics()
    #expect(
      statistics.leases.hedgesWon == 4 && statistics.leases.expiredLeases == 0 && statistics.counters.lostSessions == 0)
    // Told sample by sample, and at the end that the lease is over.
    #expect(
      eventually {
        stuck.log.withLock { log in
          log.leases.allSatisfy { log.cancelled.contains($0.id) }
        }
      })
    _ = sound
  }

  /// Work that takes its workers down is given up after a bounded number of them.
  @Test func aKillerIsSetAside() throws {
    var options = frontEndOptions()
    options.maximumLosses = 2
    let lines = LogLines()
    let frontEnd = try LearnerFrontEnd(
      options, logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) })
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<2))
    for turn in 1...2 {
      let victim = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "victim"), holding: true)
      #expect(eventually { victim.log.withLock { !$0.leases.isEmpty } })
      victim.kill()
      #expect(eventually { frontEnd.statistics().counters.lostSessions == turn })
    }
    let sound = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "sound"))
    let groups = try frontEnd.collect(groupCount: 2, within: .seconds(30))
    #expect(groups.map(\.samples.count) == [0, 4])
    #expect(frontEnd.statistics().leases.setAside == 4)
    #expect(lines.all.count { $0.hasPrefix("error") && $0.contains("group 0 is set aside: 2 workers") } == 4)
    _ = sound
  }

  /// A worker that stops naming a lease in its heartbeats loses it, though it lives.
  @Test func leasesThatAreNotWorkedOnExpire() throws {
    var options = frontEndOptions()
    options.maximumLeaseDuration = .milliseconds(300)
    let frontEnd = try LearnerFrontEnd(options, logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    try frontEnd.publish(weights(0))
    try frontEnd.submit(promptGroups(0..<1))
    let sleeper = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "sleeper"), holding: true)
    #expect(eventually { frontEnd.statistics().leases.expiredLeases >= 1 })
    #expect(eventually { !sleeper.log.withLock { $0.cancelled.isEmpty } })
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "worker", capacity: 8))
    let groups = try frontEnd.collect(groupCount: 1, within: .seconds(20))
    #expect(groups[0].samples.count == 4)
    _ = worker
  }

  @Test func workIsAccountedFor() throws {
    var work = HeldWork()
    let lease = Lease(
      id: 3, groupOrdinal: 0, promptID: "", prompt: [1], sampleIndices: [0, 1, 2], policy: ThinkingPolicy().description,
      plan: CompletionPlan(thinking: 1, maxAnswerTokens: 1), noiseSeed: 0, policyVersions: 2...2,
      deadlineMilliseconds: 1)
    let snapshot = try weights(2, byteCount: 8)
    let wasNew = [work.add(lease), work.add(lease)]
    #expect(wasNew == [true, false])
    // Only the version that the lease names may sample it, and it is delivered once.
    let delivered = [1, 3, 2, 2].map { work.deliverable(with: $0).count }
    #expect(delivered == [0, 0, 1, 0])
    let finished = [0, 0].map { work.finish(FakeWorker.result(lease, $0, snapshot)) }
    #expect(finished == [true, false])
    #expect(work.sampleCount == 2 && work.unacknowledged.count == 1)
    let cancelled = work.cancel([3, 4])
    #expect(cancelled.delivered == [3] && cancelled.sampleCount == 2)
    let late = work.finish(FakeWorker.result(lease, 1, snapshot))
    #expect(!late && work.leaseIDs.isEmpty)
    let acknowledged = [0, 0].map { work.acknowledge(leaseID: 3, sampleIndex: $0) != nil }
    #expect(acknowledged == [true, false])
  }
}
