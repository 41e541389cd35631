import Testing
import Thinking
import Trajectories

@Suite struct MetricExampleTests {
  private func trajectory(_ reward: Float?) -> Trajectory {
    Trajectory(
      promptID: "p", groupID: 0, sampleIndex: 0, policy: ThinkingPolicy(), policyVersion: 0, prompt: [1], segments: [],
      finishReason: .stop, reward: reward)
  }

  @Test func theShareIsOfThoseWithAReward() {
    #expect(positiveShare(of: [1, 0, nil, 0.5, -1].map(trajectory)) == 0.5)
    #expect(positiveShare(of: [trajectory(nil)]) == nil)
  }
}
