import Kernels
import ModelFiles
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Transformer

struct ScoringTests {
  @Test(arguments: ThinkingPolicy.Density.allCases, ModelConfiguration.Architecture.allCases)
  func scoresAgreeWithTheNaiveTwin(
    _ density: ThinkingPolicy.Density, _ architecture: ModelConfiguration.Architecture
  ) throws {
    let update = UpdateCase(architecture, density)
    var progress: [Int] = []
    let scores = try scoreTrajectories(
      update.naive.trajectories, model: try update.model(), tokenBudget: 20, team: update.team
    ) { progress.append($0) }
    for (index, trajectory) in update.naive.trajectories.enumerated() {
      #expect(scores[index].count == trajectory.segments.count)
      for (values, segment) in zip(scores[index], trajectory.segments) {
        #expect(values.count == (segment.isScored ? segment.count : 0))
      }
      let expected = update.naive.scores(index, update.twin).logProbs
      #expect(relativeDifference(scores[index].flatMap { $0 }, expected) < 1e-5)
    }
    #expect(progress.last == update.naive.trajectories.count && progress == progress.sorted())
  }

  /// A score's bits do not depend on what is scored with it.
  @Test func brainFloatScoresHaveTheSameBitsInEveryBatch() throws {
    guard availableComputeTypes.contains(.bfloat16) else { return }
    let update = UpdateCase(.qwen3, .concrete)
    let model = try update.model(.bfloat16)
    let all = update.naive.trajectories
    let together = try scoreTrajectories(all, model: model, tokenBudget: 10_000, team: update.team)
    for threads in [1, 3] {
      let team = ThreadTeam(threadCount: threads)
      #expect(try scoreTrajectories(all, model: model, tokenBudget: 1, team: team) == together)
      #expect(try scoreTrajectories(all.reversed(), model: model, tokenBudget: 30, team: team) == together.reversed())
    }
    for (index, trajectory) in all.enumerated() {
      #expect(
        try scoreTrajectories([trajectory], model: model, tokenBudget: 100, team: update.team)[0] == together[index])
    }
  }

  @Test func nothingToScore() throws {
    let update = UpdateCase(.llama, .exact)
    #expect(try scoreTrajectories([], model: try update.model(), tokenBudget: 100, team: update.team).isEmpty)
  }

  @Test func recordedLogProbs() {
    var trajectory = UpdateCase(.llama, .exact).naive.trajectories[0]
    #expect(trajectory.scoredCount == 7 && trajectory.recordedLogProbs == nil)
    trajectory.segments = trajectory.segments.map { segment in
      switch segment {
      case .soft(var soft):
        soft.logProbs = [1, 2, 3, 4]
        return .soft(soft)
      case .discrete(var discrete):
        discrete.logProbs = [5, 6, 7]
        return .discrete(discrete)
      case .forced, .replayed: return segment
      }
    }
    #expect(trajectory.recordedLogProbs == [1, 2, 3, 4, 5, 6, 7])
  }
}
