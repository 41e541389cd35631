import Testing
import Wire

@testable import WorkerLink

@Suite struct HeldWorkTests {
  private func lease(_ id: UInt64) -> Lease {
    let group = promptGroups(0..<1)[0]
    return Lease(
      id: id, groupOrdinal: 0, promptID: "p", prompt: group.prompt, sampleIndices: [0, 1, 2],
      policy: group.policy.description, plan: group.plan, noiseSeed: 1, policyVersions: 0...Int.max,
      deadlineMilliseconds: 1)
  }

  private func result(_ id: UInt64, _ sample: Int) -> TrajectoryResult {
    TrajectoryResult(
      leaseID: id, groupOrdinal: 0, sampleIndex: sample, policyVersion: 0, segments: [], finishReason: .stop)
  }

  @Test func someSamplesOfALeaseMayBeTakenBack() {
    var work = HeldWork()
    var isKnown = work.add(lease(1))
    #expect(isKnown && work.sampleCount == 3)
    // Before the engine has it: what is delivered later lacks the sample.
    var cancelled = work.cancel(1, samples: [1, 7])
    #expect(cancelled.unfinished == [1] && !cancelled.isDelivered)
    let delivered = work.deliverable(with: 0)
    #expect(delivered.map(\.sampleIndices) == [[0, 2]])
    // After it: a finished sample is not unfinished work, and a cancelled one's result is not wanted.
    isKnown = work.finish(result(1, 0))
    #expect(isKnown)
    cancelled = work.cancel(1, samples: [0, 2])
    #expect(cancelled.unfinished == [2] && cancelled.isDelivered)
    isKnown = work.finish(result(1, 2))
    #expect(!isKnown && work.sampleCount == 0 && work.leaseIDs.isEmpty && work.unacknowledged.count == 1)
    cancelled = work.cancel(9, samples: [0])
    #expect(cancelled.unfinished.isEmpty)
  }
}
