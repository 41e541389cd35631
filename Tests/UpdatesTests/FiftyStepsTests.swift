import Credit
import Foundation
import Kernels
import Logging
import ModelFiles
import Objectives
import Optimization
import Parameters
import Rollouts
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Transformer

@testable import Equality
@testable import Updates

/// Every registered objective and advantage trains a tiny task for fifty steps of four mini-batches, on policy and two versions
/// behind, without a number that is not finite: with one mini-batch on policy most of them have one gradient and prove nothing.
@Suite struct FiftyStepsTests {
  struct Method: CustomTestStringConvertible {
    var objective = "clipped"
    var parameters: [String: ParameterValue] = [:]
    var advantage = "grpo"
    var advantageParameters: [String: ParameterValue] = [:]
    var correction = "truncated_importance"
    var selection = "all"
    var testDescription: String { "\(objective) \(advantage) \(correction) \(selection)" }
  }

  static let methods: [Method] =
    objectives.names.map { Method(objective: $0) }
    + [Method(objective: "dhpo", parameters: ["dhpo_mix": .text("entropy")])]
    + advantageEstimators.names.filter { $0 != "grpo" }.map {
      // Every step of a model that knows nothing is more uncertain than the threshold's default.
      Method(advantage: $0, advantageParameters: $0 == "gtpo" ? ["gtpo_entropy_threshold": .number(9)] : [:])
    }
    + corrections.names.dropFirst().map { Method(correction: $0) }
    + selections.names.dropFirst().map { Method(selection: $0) }

  private static let groupSize = 4
  private static let groups = 4
  private let configuration = ModelConfiguration(
    architecture: .llama, hiddenSize: 16, layerCount: 1, headCount: 2, keyValueHeadCount: 1, headDimension: 8,
    intermediateSize: 24, vocabularySize: 24, contextLength: 32)

  @Test(arguments: methods) func trains(_ method: Method) throws {
    for lag in [0, 2] { try train(method, lag: lag) }
  }

  private func train(_ method: Method, lag: Int) throws {
    let team = ThreadTeam(threadCount: 1)
    let weights = TinyModel.weights(configuration, seed: 4)
    let state = LearnerState(layout: weights.layout, values: (0..<weights.count).map { Float(weights.elements[$0]) })
    var model = PreparedModel(
      weights, backend: try matrixBackend(for: .float32), trainable: true, positions: 32, team: team)
    let correction = try corrections.make(corrections.describe(method.correction))
    let caps = CorrectionCaps()
    let update = BatchUpdate(
      method: UpdateMethod(
        loss: try Loss(method.objective, method.parameters),
        advantage: try advantageEstimators.make(
          advantageEstimators.describe(method.advantage, method.advantageParameters)), maximumLength: 5,
        offPolicy: correction.isDecoupled ? .decoupled(weightCap: 5) : .behaviour,
        correction: correction.slotCap(caps) == nil ? correction : nil, correctionCaps: caps,
        selection: try selections.make(selections.describe(method.selection)), totalSteps: 50),
      options: UpdateOptions(optimizer: AdamW(learningRate: 0.01), maxGradientNorm: 1), tokenBudget: 60, reference: nil,
      audit: LogProbAudit(fingerprint: "learner", equalityHolds: true, fraction: 0, logger: quiet),
      importanceCap: correction.slotCap(caps)?.importance.map(Float.init), team: team)
    var waiting: [[CollectedTrajectory]] = []
    var moved = 0
    for step in 0..<50 {
      waiting.append(try samples(model, step: step, team: team))
      guard waiting.count > lag else { continue }
      let before = Array(state.master.elements)
      let outcome = try update.run(
        waiting.removeFirst(), state: state, model: &model, version: step, miniBatch: Self.groupSize)
      #expect(outcome.gradientNorm.isFinite && (outcome.sums[LossSum.policyLoss] ?? 0).isFinite, "step \(step)")
      moved += before == Array(state.master.elements) ? 0 : 1
    }
    let isFinite = state.master.elements.allSatisfy { $0.isFinite }
    #expect(isFinite)
    #expect(moved > 5, "\(moved) steps moved the weights")
  }

  /// Four prompts, two thinking steps and two answer tokens; right are answers that begin with a low id.
  private func samples(_ model: PreparedModel, step: Int, team: ThreadTeam) throws -> [CollectedTrajectory] {
    let engine = try SamplingEngine(model: model, slots: 16, maximumPositions: 16, team: team)
    for group in 0..<Self.groups {
      try engine.submit(
        SamplingRequest(
          id: UInt64(group), promptID: "prompt-\(group)", groupOrdinal: UInt64(step * Self.groups + group),
          prompt: [1, Int32(2 + group)], sampleIndices: Array(0..<Self.groupSize),
          policy: ThinkingPolicy(density: .concrete),
          plan: CompletionPlan([
            .think(budget: 2, ends: [], forcedEnd: [7]), .answer(DiscreteSampling(), budget: 2, stops: []),
          ]), noise: NoiseKey(seed: 3), policyVersion: step))
    }
    var trajectories: [Trajectory] = []
    while !engine.isIdle { trajectories += try engine.step().map(\.trajectory) }
    return trajectories.sorted { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }.map {
      var trajectory = $0
      let first = trajectory.scoredTokens[2]
      trajectory.reward = first < 12 ? 1 : 0
      // Half of the workers have another arithmetic.
      var sample = CollectedTrajectory(
        trajectory: trajectory, workerName: "w", fingerprint: trajectory.sampleIndex % 2 == 0 ? "learner" : "elsewhere",
        elapsedMicroseconds: 1, rewards: [trajectory.reward!, 0.5])
      sample.answer = "\(first % 3)"
      return sample
    }
  }
}
