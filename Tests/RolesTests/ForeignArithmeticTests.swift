import Foundation
import Kernels
import Loading
import ModelFiles
import Rollouts
import Tasks
import TestSupport
import Testing
import Thinking
import Trajectories
import Transformer

/// SmolLM2 sampled in int8 is explained by arithmetic; sampled with other noise it is not.
@Suite(
  .enabled(
    if: ProcessInfo.processInfo.environment["SOFTGRPO_SMOLLM2"] != nil && preferredComputeType == .bfloat16,
    "needs SOFTGRPO_SMOLLM2, the GGUF file of SmolLM2-135M-Instruct, and bf16 products"))
struct ForeignArithmeticTests {
  private static let questions = ["Write a sentence about the sea."]

  @Test func otherFormatsAreExplainedAndOtherNoiseIsNot() throws {
    let policy = ThinkingPolicies.tokens
    let team = ThreadTeam(threadCount: 1)
    let path = try #require(ProcessInfo.processInfo.environment["SOFTGRPO_SMOLLM2"])
    let loaded = try LoadedModel(path: path, endOfThinkingToken: "<|im_end|>")
    let weights = try ModelWeights(source: loaded.source)
    let prompts = try Self.questions.enumerated().map {
      try loaded.encodePrompt(Prompt(id: "\($0)", content: .messages([.init(role: "user", content: $1)]), answer: ""))
    }
    let plan = CompletionPlan(
      thinking: 12, endOfThinkingTokens: loaded.endOfThinkingTokens,
      answerPrefix: try loaded.tokenizer.encode("The final answer is: "), maxAnswerTokens: 8,
      stopTokens: loaded.stopTokens)
    func model(_ type: RolloutDataType) throws -> PreparedModel {
      PreparedModel(weights, backend: try rolloutBackend(for: type), trainable: false, positions: 80, team: team)
    }
    func sample(_ model: PreparedModel, seed: UInt64) throws -> [Trajectory] {
      let engine = try SamplingEngine(model: model, slots: 6, maximumPositions: 80, team: team)
      for (index, prompt) in prompts.enumerated() {
        try engine.submit(
          SamplingRequest(
            id: UInt64(index), promptID: "\(index)", groupOrdinal: UInt64(index), prompt: prompt,
            sampleIndices: Array(0..<3), policy: policy, plan: plan, noise: NoiseKey(seed: seed), policyVersion: 0))
      }
      var result: [Trajectory] = []
      while !engine.isIdle { result += try engine.step().map(\.trajectory) }
      return result
    }
    let here = try model(.bfloat16)
    let replay = TrajectoryReplay(here, team: team)
    func distances(_ trajectories: [Trajectory]) throws -> [DrawDistance] {
      try trajectories.map { trajectory in
        try #require(try replay.distance(of: trajectory, plan: plan, noise: NoiseKey(seed: 1)) { _ in here })
      }
    }
    let honest = try distances(sample(try model(.int8), seed: 1))
    func total(_ distances: [DrawDistance]) -> DrawDistance {
      distances.reduce(into: DrawDistance()) { $0.add($1) }
    }
    #expect(honest.compactMap(\.problem) == [] && total(honest).jointProblem == nil)
    let forged = try distances(sample(here, seed: 2))
    #expect(total(forged).jointProblem != nil)
  }
}
