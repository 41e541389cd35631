import Kernels
import Machine
import ModelFiles
import Objectives
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Transformer

@testable import Rollouts

/// The promise of README and docs/numerics.md: what a worker recorded and what the learner computes differ in not one bit
/// over 10,000 scored steps, of all densities and discrete tokens mixed in one batch, whatever the slots, refills,
/// threads, and the learner's passes.
struct TenThousandTokensTests {
  /// Widths of several oneDNN tiles with a rest: panels of 176, of 96, and of 272 with a last one of 215.
  private static let configuration = ModelConfiguration(
    architecture: .llama, hiddenSize: 96, layerCount: 2, headCount: 6, keyValueHeadCount: 2, headDimension: 16,
    intermediateSize: 352, vocabularySize: 1031, contextLength: 512, ropeTheta: 1000, rmsNormEpsilon: 1e-5)

  private static let positions = 256

  /// The products of this processor that promise equal bits, those that it passes over included.
  enum Products: String, CaseIterable, Sendable {
    case bfloat16, oneDNN, float32

    static let available = allCases.filter { (try? $0.backend().isBatchInvariant) ?? false }

    func backend() throws -> any MatrixBackend {
      #if arch(x86_64)
        if self == .oneDNN && ProcessorFeatures.current.hasBFloat16Products { return OneDNNBackend() }
      #endif
      return try matrixBackend(for: self == .float32 ? .float32 : .bfloat16)
    }
  }

  private static func model(_ products: Products, team: ThreadTeam) throws -> PreparedModel {
    let layout = ParameterLayout(configuration)
    let weights = ModelWeights(layout: layout)
    for (index, value) in randomWeights(layout: layout, seed: 11).enumerated() {
      weights.elements[index] = BFloat16(value == 1 ? 1 : value * 6)
    }
    return PreparedModel(
      weights, backend: try products.backend(), trainable: true, positions: positions, team: team)
  }

  /// A group of each policy: short and long prompts (to pages 1, 2 and 3 of 64 positions), ends of thinking that come
  /// early, forced ends, forced prefixes, answers that stop.
  private static func requests(_ round: Int, samples: Int) -> [SamplingRequest] {
    let policies = Tiny.policies.filter(\.isTrainable)
    return policies.indices.map { index in
      let ordinal = round * policies.count + index
      let length = [9, 63, 64, 150][(index + round) % 4]
      let stops = (0..<24).map { Int32(31 * $0 + 7) }
      return SamplingRequest(
        id: UInt64(ordinal), promptID: "p\(ordinal)", groupOrdinal: UInt64(ordinal),
        prompt: (0..<length).map { Int32(($0 * 17 + ordinal * 101) % configuration.vocabularySize) },
        sampleIndices: Array(0..<samples), policy: policies[index],
        plan: CompletionPlan(
          thinking: 24 + 8 * (index % 8), endOfThinkingTokens: stops, answerPrefix: index % 2 == 0 ? [3, 4, 5] : [],
          answer: DiscreteSampling(temperature: 0.9, topK: 0, topP: 0.95), maxAnswerTokens: 20,
          stopTokens: stops.map { $0 + 1 }),
        noise: NoiseKey(seed: 9), policyVersion: 0)
    }
  }

  @Test(arguments: Products.available)
  func notOneBitDiffers(_ products: Products) throws {
    let teams = [ThreadTeam(threadCount: 1), ThreadTeam(threadCount: 2)]
    let model = try Self.model(products, team: teams[1])
    let gradient = AlignedBuffer<Float>(count: model.layout.count)
    var (compared, differing, soft, forced) = (0, 0, 0, 0)
    let settings: [(slots: Int, threads: Int)] = [(1, 1), (3, 2), (8, 1), (33, 2)]
    for (round, setting) in settings.enumerated() {
      let requests = Self.requests(round, samples: setting.slots == 1 ? 12 : 40)
      let team = teams[setting.threads - 1]
      let engine = try SamplingEngine(
        model: model, slots: setting.slots, maximumPositions: Self.positions, team: team)
      for request in requests { try engine.submit(request) }
      var trajectories: [Trajectory] = []
      while !engine.isIdle { trajectories += try engine.step().map(\.trajectory) }
      // In the order in which they ended: groups are mixed and prompts are computed more than once.
      try #require(trajectories.count == requests.reduce(0) { $0 + $1.sampleIndices.count })

      for (budget, threads) in [(100_000, 2), (300, 1)] {
        let scores = try scoreTrajectories(
          trajectories, model: model, tokenBudget: budget, team: teams[threads - 1])
        for (trajectory, scores) in zip(trajectories, scores) {
          let recorded = try #require(trajectory.recordedLogProbs)
          differing += zip(recorded, scores.joined()).count { $0.bitPattern != $1.bitPattern }
          #expect(recorded.count == scores.reduce(0) { $0 + $1.count })
        }
      }
      // The pass that trains keeps a tape, and is compared on some of them.
      let trained = Array(trajectories.prefix(24))
      let result = try PolicyGradient(team: team).accumulate(
        trained.map { WeightedTrajectory(trajectory: $0, advantage: 1, weight: 1e-3, oldLogProbs: nil) },
        model: model, reference: nil, loss: Loss(), gradient: gradient.base)
      for (trajectory, values) in zip(trained, result.logProbs) {
        #expect(sameBits(try #require(trajectory.recordedLogProbs), values))
      }
      for trajectory in trajectories {
        compared += trajectory.scoredCount
        for segment in trajectory.segments {
          if case .soft(let steps) = segment { soft += steps.count }
          if case .forced = segment { forced += 1 }
        }
      }
    }
    #expect(differing == 0, "\(differing) of \(compared) log-probs differ")
    #expect(compared >= 10_000, "\(compared) scored steps")
    #expect(soft >= 3000 && compared - soft >= 3000 && forced >= 100, "\(soft) soft of \(compared), \(forced) forced")
  }
}
