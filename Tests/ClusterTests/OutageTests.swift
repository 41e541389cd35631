import SoftThinking
import Testing
import Transport
import WeightSync
import Wire

@testable import Cluster

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
    #expect(eventually { frontEnd.statistics().lostSessions == 1 })
    for sample in lease.sampleIndices { try link.send(FakeWorker.result(lease, sample, snapshot)) }
    #expect(frontEnd.statistics().queuedSamples == 4)

    relay.isBlocked = false
    let groups = try frontEnd.collect(groupCount: 1, within: .seconds(20))
    #expect(groups.first?.samples.count == 4)
    #expect(link.close(reason: "end", within: .seconds(10)))
    #expect(frontEnd.statistics().acceptedSamples == 4)
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
    #expect(eventually { frontEnd.statistics().expiredLeases >= 1 })
    #expect(eventually { !sleeper.log.withLock { $0.cancelled.isEmpty } })
    let worker = try FakeWorker(workerOptions(frontEnd.controlEndpoint, name: "worker", capacity: 8))
    let groups = try frontEnd.collect(groupCount: 1, within: .seconds(20))
    #expect(groups[0].samples.count == 4)
    _ = worker
  }

  @Test func workIsAccountedFor() throws {
    var work = HeldWork()
    let lease = Lease(
      id: 3, groupOrdinal: 0, promptID: "", prompt: [1], sampleIndices: [0, 1, 2], policy: ThinkingPolicy(),
      options: SamplingOptions(maxThinkingTokens: 1, maxAnswerTokens: 1), noiseSeed: 0, policyVersions: 2...2,
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
