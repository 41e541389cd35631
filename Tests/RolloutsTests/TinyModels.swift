import Kernels
import ModelFiles
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import Rollouts

/// A tiny random model, and requests for it.
enum Tiny {
  static let configuration = ModelConfiguration(
    architecture: .llama, hiddenSize: 64, layerCount: 2, headCount: 4, keyValueHeadCount: 2, headDimension: 16,
    intermediateSize: 96, vocabularySize: 80, contextLength: 256, ropeTheta: 1000, rmsNormEpsilon: 1e-5)

  static func model(_ type: ComputeType, team: ThreadTeam, scale: Float = 8) throws -> PreparedModel {
    try model(rollouts: RolloutDataType(type), team: team, scale: scale)
  }

  static func model(rollouts type: RolloutDataType, team: ThreadTeam, scale: Float = 8) throws -> PreparedModel {
    let layout = ParameterLayout(configuration)
    let weights = ModelWeights(layout: layout)
    // Larger than an initialisation's, so that the distributions are far from uniform.
    for (index, value) in randomWeights(layout: layout, seed: 5).enumerated() {
      weights.elements[index] = BFloat16(value == 1 ? 1 : value * scale)
    }
    return PreparedModel(weights, backend: try rolloutBackend(for: type), trainable: false, positions: 256, team: team)
  }

  static func request(
    _ ordinal: Int, promptLength: Int = 20, samples: Int = 4, policy: ThinkingPolicy = ThinkingPolicy(),
    plan: CompletionPlan = CompletionPlan(
      thinking: 12, endOfThinkingTokens: [7], answerPrefix: [3, 4], maxAnswerTokens: 6, stopTokens: [9])
  ) -> SamplingRequest {
    SamplingRequest(
      id: UInt64(ordinal), promptID: "p\(ordinal)", groupOrdinal: UInt64(ordinal),
      prompt: (0..<promptLength).map { Int32(($0 * 7 + ordinal * 13) % 80) }, sampleIndices: Array(0..<samples),
      policy: policy, plan: plan, noise: NoiseKey(seed: 42), policyVersion: 3)
  }

  /// All trajectories of some requests, by request and sample.
  static func sample(
    _ requests: [SamplingRequest], _ model: PreparedModel, slots: Int, team: ThreadTeam
  ) throws -> [Trajectory] {
    let engine = try SamplingEngine(model: model, slots: slots, maximumPositions: 200, team: team)
    for request in requests { try engine.submit(request) }
    var result: [Trajectory] = []
    while !engine.isIdle { result += try engine.step().map(\.trajectory) }
    return result.sorted { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }
  }

  /// Every policy in its variants.
  static let policies = ThinkingPolicies.trainable + [ThinkingPolicy(kind: .none)]
}
