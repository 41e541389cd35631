import Testing
import TestSupport
import Thinking
import Trajectories
import Wire

@testable import FleetBenchmarks
@testable import Sessions

@Suite(.serialized) struct TransportBenchmarkTests {
  /// Many workers at once, as fast as they can: every trajectory arrives, is accepted once, and no session ends.
  @Test(arguments: ["none", "curve"])
  func manyWorkersLoseNothing(security: String) throws {
    var settings = TransportBenchmark.Settings()
    settings.workers = [100]
    settings.security = [security]
    settings.seconds = 0.3
    settings.steps = 50
    settings.rate = 5
    let report = try TransportBenchmark(settings, logger: quiet).run { _ in }
    let result = try #require(report.results.first)
    #expect(result.lostTrajectories == 0 && result.lostSessions == 0 && result.repeatedResults == 0)
    #expect(result.trajectoriesPerSecond > 0 && result.microsecondsPerTrajectory > 0)
    #expect(result.announcementSlowestMilliseconds > 0)
  }

  /// With relays between: nothing is lost, and the learner sends a version once a relay instead of once a worker.
  @Test(arguments: ["none", "curve"])
  func relaysCarryEverything(security: String) throws {
    var settings = TransportBenchmark.Settings()
    settings.workers = [40]
    settings.relays = [0, 4]
    settings.security = [security]
    settings.seconds = 0.3
    settings.steps = 50
    settings.rate = 5
    settings.broadcastByteCount = 300_000
    let results = try TransportBenchmark(settings, logger: quiet).run { _ in }.results
    #expect(results.map(\.relays) == [0, 4])
    for result in results {
      #expect(result.lostTrajectories == 0)
      #expect(result.lostSessions == 0)
      #expect(result.repeatedResults == 0)
      #expect(result.trajectoriesPerSecond > 0 && result.broadcastSlowestMilliseconds > 0)
      // A relay may still be fetching the small version before.
      let expected = 300_000 * (result.relays > 0 ? 4 : 40)
      #expect((expected...expected + 4 * 4096).contains(result.broadcastLearnerByteCount))
      // Other tests' relays count, too: a name is all that a thread is known by.
      #expect(result.relays == 0 || result.relayMicrosecondsPerTrajectory > 0)
    }
  }

  @Test func syntheticTrajectoriesAreWhatWorkersSend() throws {
    let segments = TransportBenchmark.segments(steps: 200, topK: 5)
    #expect(segments.map(\.count) == [200, 2, 10])
    let result = TrajectoryResult(
      leaseID: 1, groupOrdinal: 2, sampleIndex: 3, policyVersion: 4, segments: segments, finishReason: .stop)
    let envelope = Envelope(session: 5, .trajectoryResult(result))
    #expect(try Envelope(decoding: envelope.encoded()) == envelope)
  }

  @Test func moreWorkersThanSocketsAreRefused() throws {
    var settings = TransportBenchmark.Settings()
    settings.workers = [1 << 40]
    let error = #expect(throws: RoleError.self) {
      try TransportBenchmark(settings, logger: quiet)
    }
    #expect(error?.message.contains("ulimit -n") == true)
  }

  /// Samples leave in their order; a lease is named until its last sample has gone.
  @Test func aBacklogIsAnsweredInOrder() {
    func lease(_ id: UInt64, _ samples: Int) -> Lease {
      Lease(
        id: id, groupOrdinal: 0, promptID: "p", prompt: [1], sampleIndices: Array(0..<samples),
        policy: ThinkingPolicy().description, plan: CompletionPlan([]), noiseSeed: 1, policyVersions: 0...0,
        deadlineMilliseconds: 1)
    }
    var backlog = SampleBacklog()
    backlog.add([lease(1, 300), lease(2, 2)])
    #expect(backlog.leaseIDs == [1, 2])
    for sample in 0..<300 { #expect(backlog.next()?.sample == sample) }
    #expect(backlog.leaseIDs == [2])
    backlog.add([lease(3, 1)])
    let last = [backlog.next(), backlog.next(), backlog.next()].map { $0?.lease.id }
    #expect(last == [2, 2, 3])
    let after = backlog.next()
    #expect(after?.sample == nil && backlog.leaseIDs.isEmpty)
  }
}
