import Testing
import Thinking
import Trajectories
import Wire

@testable import WorkerLink

@Suite struct HeldWorkTests {
  private func lease(_ id: UInt64) -> Lease {
    Lease(
      id: id, groupOrdinal: 0, promptID: "p", prompt: [1, 2], sampleIndices: [0, 1, 2],
      policy: ThinkingPolicy().description, plan: CompletionPlan(thinking: 4, maxAnswerTokens: 4), noiseSeed: 1,
      policyVersions: 0...Int.max, deadlineMilliseconds: 1)
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

  /// Whatever becomes of a sample, the worker asks for another one in its place, once.
  @Test func creditsAreAskedForAsSamplesLeave() {
    var work = HeldWork()
    func ask(_ capacity: Int = 6) -> Int { work.takeCredits(capacity: capacity) }
    #expect(ask() == 6 && ask() == 0)
    for id: UInt64 in [1, 2] { _ = work.add(lease(id)) }
    #expect(ask() == 0, "the credits have become samples")
    _ = work.finish(result(1, 0))
    #expect(ask() == 1)
    _ = work.cancel(1, samples: [1])
    #expect(ask() == 1)
    _ = work.cancel([1])
    #expect(ask() == 1)
    work.giveBack(ReturnedWork(leaseID: 2, sampleIndices: [0, 9], isLoss: true))
    work.giveBack(ReturnedWork(leaseID: 1, sampleIndices: [0]))
    #expect(ask() == 1, "of what was not held nothing is given back")
    work.giveBackWaiting()
    #expect(ask() == 2 && work.sampleCount == 0)
    let returned = work.takeReturned()
    let left = work.takeReturned()
    #expect(returned.map(\.sampleIndices) == [[0], [1, 2]] && left.isEmpty)
    // A smaller capacity asks for nothing until enough has left; a new session knows of no credits.
    #expect(ask(2) == 0)
    work.rejoined()
    #expect(ask(2) == 2)
  }
}
