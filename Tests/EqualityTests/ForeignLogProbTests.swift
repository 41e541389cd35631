import Logging
import Testing
import TestSupport
import Thinking
import Trajectories

@testable import Equality

/// Log-probs of workers whose bits are not the learner's: arithmetic explains little differences and no large ones.
struct ForeignLogProbTests {
  /// Reasons for which "key a" is caught after trajectories with these log-probs.
  ///
  /// - Parameter own: the learner's, each.
  private func caught(_ trajectories: [[Float]], own: Float = -1, version: Int = 5) -> [String] {
    let audit = LogProbAudit(fingerprint: "own", equalityHolds: true, fraction: 0, logger: quiet)
    var reasons: [String] = []
    audit.whenCaught = { party, reason in
      #expect(party == "key a")
      reasons.append(reason)
    }
    var summary = AuditSummary()
    for (index, logProbs) in trajectories.enumerated() {
      let trajectory = Trajectory(
        promptID: "", groupID: index, sampleIndex: 0, policy: ThinkingPolicy(), policyVersion: version, prompt: [1],
        segments: [
          .discrete(DiscreteSegment(tokenIDs: [Int32](repeating: 1, count: logProbs.count), logProbs: logProbs))
        ], finishReason: .stop)
      audit.compare(
        CollectedTrajectory(
          trajectory: trajectory, workerName: "w", fingerprint: "another", elapsedMicroseconds: 1, party: "key a"),
        recorded: logProbs, computed: logProbs.map { $0 == -.infinity ? $0 : own }, relied: false, version: 5,
        summary: &summary)
    }
    return reasons
  }

  @Test func theThirdTrajectoryThatNoArithmeticExplainsCatches() {
    let far: [Float] = [9, 9, -1]
    #expect(caught([far, far]).isEmpty)
    #expect(caught([far, [-1, -1, -1], far, far, far]).count == 1)
    #expect(caught([[.nan], [.nan], [.nan]]).count == 1)
    #expect(caught([[Float]](repeating: [-.infinity, 9], count: 3)).count == 1, "an infinity excuses nothing")
  }

  @Test func honestDifferencesAndOtherWeightsDoNot() {
    let near: [Float] = [-1.3, -0.7, -1, 8]
    #expect(caught([[Float]](repeating: near, count: 20)).isEmpty)
    #expect(caught([[Float]](repeating: [-.infinity, -1], count: 20)).isEmpty, "equal infinities")
    #expect(caught([[Float]](repeating: [-52, -68], count: 20), own: -60).isEmpty, "densities of vectors in int8")
    #expect(caught([[Float]](repeating: [-20, -40], count: 20), own: -60).count == 1)
    #expect(caught([[Float]](repeating: [9, 9], count: 20), version: 4).isEmpty, "drawn by other weights")
  }
}
