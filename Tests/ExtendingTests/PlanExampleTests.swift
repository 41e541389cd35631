import Foundation
import Kernels
import Parameters
import Rollouts
import Testing
import TestSupport
import Transformer

@testable import Tasks
@testable import Thinking
@testable import Trajectories

@Suite struct PlanExampleTests {
  private let usual = CompletionPlan(
    thinking: 6, endOfThinkingTokens: [7], answerPrefix: [3], maxAnswerTokens: 4, stopTokens: [9])
  private let prompts = [
    Prompt(id: "a", content: .text("?"), answer: "1"), Prompt(id: "b", content: .text("?"), answer: "2"),
  ]

  private func scheduler(_ words: String = "hint") throws -> RetryHintScheduler {
    let parts = PartRegistry<any PromptScheduler.Type>(
      "scheduler",
      [
        .init(
          name: RetryHintScheduler.name, summary: RetryHintScheduler.summary, parameters: RetryHintScheduler.parameters
        ) { _ in RetryHintScheduler.self }
      ])
    let part = try parts.describe("retry_hint", ["retry_hint_words": .text(words)])
    return try RetryHintScheduler(
      part.values,
      SchedulerContext(
        plan: usual, policy: ThinkingPolicy(), groupSize: 2, seed: 1, endOfThinkingTokens: [7],
        encode: { text in
          guard text == "hint" else { throw ParameterError("'\(text)' cannot be spelt") }
          return [11, 12]
        }))
  }

  private func finished(_ group: DrawnGroup, rewards: [Float?]) -> FinishedGroup {
    FinishedGroup(
      ordinal: 0, role: .train, prompt: group.prompt,
      samples: rewards.enumerated().map { index, reward in
        Trajectory(
          promptID: group.prompt.id, groupID: 0, sampleIndex: index, policy: ThinkingPolicy(), policyVersion: 0,
          prompt: [1], segments: [], finishReason: .stop, reward: reward)
      })
  }

  @Test func whatNobodySolvedGetsAHint() throws {
    var scheduler = try scheduler()
    let first = try scheduler.next(2) { Array(prompts.prefix($0)) }
    #expect(first.map { scheduler.plan(for: $0) } == [usual, usual])
    scheduler.concluded([finished(first[0], rewards: [0, 0]), finished(first[1], rewards: [0, 1])])

    // A resumed run decides the same.
    var resumed = try self.scheduler()
    try resumed.restore(scheduler.record())
    for var scheduler in [scheduler, resumed] {
      let second = try scheduler.next(2) { Array(prompts.prefix($0)) }
      #expect(scheduler.plan(for: second[0]) == CompletionPlan([.force([11, 12])] + usual.stages))
      #expect(scheduler.plan(for: second[1]) == usual)
      scheduler.concluded([finished(second[0], rewards: [1, nil])])
      #expect(try scheduler.next(1) { Array(prompts.prefix($0)) }.map { scheduler.plan(for: $0) } == [usual])
    }
    #expect(scheduler.longestCompletion == usual.longestCompletion + 2)
  }

  @Test func wordsThatCannotBeSpeltAreRefused() {
    #expect(throws: ParameterError("retry_hint_words: 'x' cannot be spelt")) { try scheduler("x") }
  }

  @Test func theEngineFollowsThePlan() throws {
    let team = ThreadTeam(threadCount: 1)
    let configuration = TinyModel.configuration(.llama)
    let model = PreparedModel(
      TinyModel.weights(configuration, seed: 3), backend: try rolloutBackend(for: .float32), trainable: false,
      positions: 64, team: team)
    let plan = usual.hinted([11, 12])
    #expect(plan.problem(policy: ThinkingPolicy()) == nil)
    let engine = try SamplingEngine(model: model, slots: 2, maximumPositions: 64, team: team)
    try engine.submit(
      SamplingRequest(
        id: 1, promptID: "a", groupOrdinal: 0, prompt: [1, 2], sampleIndices: [0, 1], policy: ThinkingPolicy(),
        plan: plan, noise: NoiseKey(seed: 42), policyVersion: 0))
    var trajectories: [Trajectory] = []
    while !engine.isIdle { trajectories += try engine.step().map(\.trajectory) }
    #expect(trajectories.count == 2)
    for trajectory in trajectories {
      #expect(trajectory.segments.first == .forced([11, 12]))
      #expect(trajectory.segments.count > 2)
      try trajectory.validate(vocabularySize: configuration.vocabularySize, contextLength: configuration.contextLength)
    }
  }
}
