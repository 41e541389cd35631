import Kernels
import ModelFiles
import Objectives
import Testing
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import Training

/// A leaf's gradient is a function of the leaf: neither threads nor memory show in its bits.
struct LeafGradientTests {
  private static let dtypes: [ComputeType] = preferredComputeType == .bfloat16 ? [.bfloat16, .float32] : [.float32]

  private func gradient(
    _ type: ComputeType, threads: Int, budget: Int, adapters: Bool, rounded: GradientType = .float32
  ) throws -> (bits: [UInt32], result: LeafResult) {
    let team = ThreadTeam(threadCount: threads)
    let configuration = ModelConfiguration(
      architecture: .llama, hiddenSize: 96, layerCount: 2, headCount: 6, keyValueHeadCount: 2, headDimension: 16,
      intermediateSize: 160, vocabularySize: 300, contextLength: 256)
    let weights = TinyModel.weights(configuration, seed: 5)
    let backend = try matrixBackend(for: type)
    let model = PreparedModel(weights, backend: backend, trainable: true, positions: 256, team: team)
    let state: any TrainableState =
      adapters
      ? AdapterState(base: weights, options: AdapterOptions(rank: 4, alpha: 8), seed: 1)
      : LearnerState(layout: weights.layout)
    let passes = PolicyGradient(team: team)
    passes.activationMemoryBudget = budget
    let buffer = GradientBuffer(count: state.gradientValues.count)
    for index in 0..<buffer.count { buffer.values[index] = .nan }
    let result = try passes.compute(
      leaf(configuration), model: model, reference: nil, loss: Loss(), type: rounded,
      sink: state.gradientSink(into: buffer.values, backend: backend, team: team), into: buffer)
    return ((0..<buffer.count).map { buffer.values[$0].bitPattern }, result)
  }

  /// Two passes of trajectories with discrete tokens, two prompts.
  private func leaf(_ c: ModelConfiguration) -> GradientLeaf {
    let items = (0..<12).map { index in
      let prompt = TinyModel.tokens(20 + index / 4, c, seed: UInt64(index / 4))
      let tokens = TinyModel.tokens(18 + 5 * index, c, seed: UInt64(50 + index))
      return WeightedTrajectory(
        trajectory: Trajectory(
          promptID: "\(index / 4)", groupID: index / 4, sampleIndex: index, policy: ThinkingPolicy(kind: .discrete),
          policyVersion: 0, prompt: prompt, segments: [.discrete(DiscreteSegment(tokenIDs: tokens))],
          finishReason: .stop),
        advantage: index % 2 == 0 ? 1 : -0.7, weight: 1 / 300, oldLogProbs: nil)
    }
    return GradientLeaf([Array(items[..<8]), Array(items[8...])])
  }

  @Test(arguments: dtypes, [false, true])
  func threadsAndMemoryDoNotShow(_ type: ComputeType, _ adapters: Bool) throws {
    let expected = try gradient(type, threads: 1, budget: 1 << 30, adapters: adapters)
    #expect(expected.bits.contains { $0 != 0 } && expected.result.sums.slotCount > 500)
    for (threads, budget) in [(2, 1 << 30), (3, 1 << 30), (5, 1 << 30), (2, 1)] {
      let other = try gradient(type, threads: threads, budget: budget, adapters: adapters)
      #expect(other.bits == expected.bits, "\(threads) threads, \(budget) bytes")
      #expect(other.result == expected.result)
    }
  }

  /// The first pass overwrites what was there; the sum is that of passes that add to zero.
  @Test(arguments: dtypes) func overwritingIsAddingToZero(_ type: ComputeType) throws {
    for architecture in [ModelConfiguration.Architecture.llama, .qwen2, .qwen3] {
      let team = ThreadTeam(threadCount: 2)
      let configuration = TinyModel.configuration(architecture, scale: 2)
      let weights = TinyModel.weights(configuration, seed: 6)
      let backend = try matrixBackend(for: type)
      let model = PreparedModel(weights, backend: backend, trainable: true, positions: 256, team: team)
      let passes = PolicyGradient(team: team)
      let leaf = leaf(configuration)
      let buffer = GradientBuffer(count: weights.count)
      for index in 0..<buffer.count { buffer.values[index] = .nan }
      let loss = try Loss()
      _ = try passes.compute(
        leaf, model: model, reference: nil, loss: loss, type: .float32, sink: .full(buffer.values), into: buffer)
      var expected = [Float](repeating: 0, count: weights.count)
      for batch in leaf.microBatches {
        _ = try passes.accumulate(batch, model: model, reference: nil, loss: loss, gradient: &expected)
      }
      #expect((0..<buffer.count).allSatisfy { buffer.values[$0] == expected[$0] }, "\(architecture)")
    }
  }

  @Test func bfloat16LeavesAreRounded() throws {
    let exact = try gradient(Self.dtypes[0], threads: 2, budget: 1 << 30, adapters: false)
    let rounded = try gradient(Self.dtypes[0], threads: 2, budget: 1 << 30, adapters: false, rounded: .bfloat16)
    #expect(rounded.bits == exact.bits.map { Float(bitPattern: $0).roundedToBFloat16.bitPattern })
    #expect(rounded.bits != exact.bits && rounded.bits.allSatisfy { $0 & 0xFFFF == 0 })
  }

  @Test func rowsAreThoseOfThePasses() {
    let leaf = leaf(TinyModel.configuration(.llama))
    let expected = leaf.microBatches.reduce(0) { $0 + ScoringPlan($1.map(\.trajectory)).batch.rowCount }
    #expect(leaf.rowCount == expected && expected > 500)
  }
}
