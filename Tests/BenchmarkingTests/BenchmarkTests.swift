import Kernels
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Transformer

@testable import Benchmarking

/// Both benchmarks on a tiny model: every figure follows from the others, whatever the time was.
struct BenchmarkTests {
  private let team = ThreadTeam(threadCount: 2)

  private func model(trainable: Bool = false) throws -> PreparedModel {
    PreparedModel(
      TinyModel.weights(TinyModel.configuration(.llama), seed: 1), backend: try matrixBackend(for: .float32),
      trainable: trainable, positions: 256, team: team)
  }

  private func benchmark(_ settings: RolloutBenchmark.Settings, _ model: PreparedModel) throws -> RolloutBenchmark {
    var benchmark = try RolloutBenchmark(settings, model: model, dataType: .float32, team: team)
    benchmark.limitEffort = 0
    return benchmark
  }

  @Test func rolloutFiguresAreConsistent() throws {
    let settings = RolloutBenchmark.Settings(
      batchSizes: [1, 5], promptTokens: [7, 70], steps: 4, warmUpSteps: 1, pairs: 2, groupSize: 2)
    let model = try model()
    var said: [String] = []
    let results = try benchmark(settings, model).run { said.append($0) }
    #expect(said.contains { $0.contains("batch 5, prompt of 70") })
    #expect(
      results.rows.map { "\($0.promptTokens) \($0.batch) \($0.policy)" } == [
        "7 1 gumbel", "7 1 discrete", "7 5 gumbel", "7 5 discrete", "70 1 gumbel", "70 1 discrete", "70 5 gumbel",
        "70 5 discrete",
      ])
    #expect(results.ratios.map(\.batch) == [1, 5, 1, 5] && results.ratios.allSatisfy { $0.softOverDiscrete > 0 })
    let c = model.configuration
    let machine = results.machine
    for row in results.rows {
      func near(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * abs(b) }
      #expect(near(row.tokensPerSecond * row.millisecondsPerStep, Double(row.batch) * 1e3))
      #expect(near(row.gflops * 1e9, 2 * Double(c.matrixWeights) * row.tokensPerSecond))
      #expect(near(row.rooflineFraction * row.rooflineTokensPerSecond, row.tokensPerSecond))
      let groups = (row.batch + 1) / 2
      // 1 token of the prompt's pass, 1 of warm-up, then 4: 2 to 5 own positions, 3.5 on average.
      let bytes =
        Double(4 * c.matrixWeights)
        + (Double(groups * row.promptTokens) + Double(row.batch) * 3.5) * Double(c.keyValueBytes(.float32))
      #expect(near(row.gigabytesPerSecond * 1e9 * row.millisecondsPerStep / 1e3, bytes))
      let (compute, memory) = (
        machine.gemmGflops * 1e9 / Double(2 * c.matrixWeights),
        machine.memoryGigabytesPerSecond * 1e9 * Double(row.batch) / bytes
      )
      #expect(near(row.rooflineTokensPerSecond, min(compute, memory)))
      #expect(row.rooflineLimit == (compute <= memory ? "compute" : "memory"))
      #expect(row.contextTokens == Double(row.promptTokens) + 3.5 && row.dtype == "float32")
      #expect(row.stages.values.reduce(0, +) <= row.millisecondsPerStep)
      for stage in ["embed", "norm", "projections", "attention", "gated_unit", "head", "draw"] {
        #expect((row.stages[stage] ?? 0) > 0, "\(stage)")
      }
      #expect(row.prefillTokensPerSecond > 0)
    }
  }

  @Test func onePolicyAloneHasNoRatio() throws {
    for policy in try ThinkingPolicies.names.map({ try ThinkingPolicy($0) }) {
      let settings = RolloutBenchmark.Settings(
        batchSizes: [3], promptTokens: [1], steps: 1, warmUpSteps: 0, pairs: 1, policies: [policy])
      let results = try benchmark(settings, try model()).run()
      #expect(results.rows.map(\.policy) == [policy.name] && results.ratios.isEmpty)
    }
  }

  @Test func updateFiguresAreConsistent() throws {
    let c = TinyModel.configuration(.llama)
    let weights = TinyModel.weights(c, seed: 2)
    let state = LearnerState(layout: weights.layout, values: weights.elements.map { Float($0) })
    let settings = UpdateBenchmark.Settings(
      shapes: [.init(softSteps: 6, answerTokens: 3), .init(softSteps: 2, answerTokens: 0)], promptTokens: 5, groups: 3,
      groupSize: 2, microBatchTokens: 24, pairs: 2)
    let benchmark = try UpdateBenchmark(
      settings, state: state, backend: try matrixBackend(for: .float32), team: team)
    benchmark.limitEffort = 0
    let results = try benchmark.run()
    // Two shapes: one update that is not timed, then two rounds of two policies.
    #expect(state.step == 10)
    #expect(
      results.rows.map { "\($0.softSteps) \($0.answerTokens) \($0.policy)" } == [
        "6 3 gumbel", "6 3 discrete", "2 0 gumbel", "2 0 discrete",
      ])
    #expect(results.ratios.count == 2 && results.ratios.allSatisfy { $0.softOverDiscrete > 0 && $0.pairs == 2 })
    for row in results.rows {
      func near(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * abs(b) }
      let parts = row.secondsByPart
      #expect(near(parts.forward + parts.backward + parts.head + parts.optimizer + parts.other, row.seconds))
      #expect([parts.forward, parts.backward, parts.head, parts.optimizer].allSatisfy { $0 > 0 })
      #expect(near(row.tokensPerSecond * row.seconds, Double(6 * (5 + row.softSteps + row.answerTokens))))
      #expect(near(row.gemmPeakFraction * results.machine.gemmGflops, row.gflops))
      #expect(near(row.projectionPeakFraction * results.machine.gemmGflops, row.projectionGflops))
      #expect(row.trajectories == 6 && row.microBatches >= 1 && row.dtype == "float32")
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let c = TinyModel.configuration(.llama)
    func refuses(_ part: String, _ body: () throws -> Void) {
      #expect { try body() } throws: { "\($0)".contains(part) && $0 is BenchmarkError }
    }
    refuses("context of 256") {
      try RolloutBenchmark.check(.init(promptTokens: [200]), configuration: c, computeType: .float32)
    }
    var wide = BenchmarkModel.smolLM2
    wide.contextLength = 1 << 24
    refuses("--batch") {
      try RolloutBenchmark.check(
        .init(batchSizes: [4096], promptTokens: [1 << 22]), configuration: wide, computeType: .bfloat16)
    }
    refuses("--prompt-tokens") {
      try UpdateBenchmark.check(.init(promptTokens: 300), configuration: c, computeType: .float32)
    }
    refuses("--top-k") {
      try UpdateBenchmark.check(
        .init(promptTokens: 10, soft: ThinkingPolicy(topK: 24)), configuration: c, computeType: .float32)
    }
    refuses("--micro-batch-tokens") {
      try UpdateBenchmark.check(
        .init(groups: 4096, microBatchTokens: 1 << 24), configuration: BenchmarkModel.smolLM2, computeType: .float32)
    }
  }
}
