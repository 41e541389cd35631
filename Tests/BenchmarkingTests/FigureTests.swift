import Kernels
import ModelFiles
import Testing
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import Benchmarking
@testable import Training

struct FigureTests {
  @Test func medians() {
    #expect(median([3, 1, 2]) == 2 && median([4, 1, 3, 2]) == 2.5)
    #expect(medianIndex([3, 1, 2]) == 2)
    // Of an even count one that was measured.
    #expect(medianIndex([4, 1, 3, 2]) == 3)
  }

  /// The weights that a token is multiplied with, counted from the parameters' shapes.
  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func matrixWeightsAreThoseOfTheParameters(architecture: ModelConfiguration.Architecture) {
    let c = TinyModel.configuration(architecture)
    let matrices = c.parameterShapes().filter { $0.shape.count == 2 && $0.name != "model.embed_tokens.weight" }
    var expected = matrices.reduce(0) { $0 + $1.shape.reduce(1, *) }
    if c.tiedEmbeddings { expected += c.vocabularySize * c.hiddenSize }
    #expect(c.matrixWeights == expected)
  }

  @Test func theSyntheticModelHasTheShapeOfSmolLM2() {
    let c = BenchmarkModel.synthetic.configuration
    #expect(c.parameterCount == 134_515_008)
    #expect(c.matrixWeights * 2 < 269_030_016 && c.keyValueBytes(.bfloat16) == 23_040)
  }

  @Test func theBetterLimitCounts() {
    let a = MachineLimits(
      processor: "p", threads: 2, dtype: "float32", backend: "b", gemmGflops: 10, gemmShape: [1, 2, 3],
      gemmBackend: "b", memoryGigabytesPerSecond: 5)
    var b = a
    b.gemmBackend = "c"
    (b.gemmGflops, b.gemmShape, b.memoryGigabytesPerSecond) = (20, [4, 5, 6], 4)
    for merged in [a.better(b), b.better(a)] {
      #expect(
        merged.gemmGflops == 20 && merged.gemmShape == [4, 5, 6] && merged.gemmBackend == "c"
          && merged.memoryGigabytesPerSecond == 5)
    }
  }

  @Test func limitsArePositive() throws {
    let limits = MachineLimits.measure(
      backend: try matrixBackend(for: .float32), dataType: .float32, team: ThreadTeam(threadCount: 2), effort: 0)
    #expect(limits.gemmGflops > 0 && limits.gemmGflops.isFinite && limits.dtype == "float32")
    #expect(RolloutDataType.allCases.map(\.weightBytes) == [4, 2, 1])
    #expect(limits.memoryGigabytesPerSecond > 0 && limits.memoryGigabytesPerSecond.isFinite && limits.threads == 2)
  }
}

struct SyntheticBatchTests {
  private let settings = UpdateBenchmark.Settings(
    shapes: [.init(softSteps: 6, answerTokens: 3)], promptTokens: 5, groups: 3, groupSize: 2, microBatchTokens: 24,
    pairs: 1)

  private func batch(vocabularySize: Int) throws -> SyntheticBatch {
    try SyntheticBatch.soft(settings, settings.shapes[0], vocabularySize: vocabularySize)
  }

  /// 7919 divides this vocabulary: the ids of a step must be distinct all the same.
  @Test(arguments: [23, 7919, 49_152])
  func trajectoriesAreOfTheirShapeAndValid(vocabularySize: Int) throws {
    let batch = try batch(vocabularySize: vocabularySize)
    #expect(batch.items.count == 6 && batch.policy == "gumbel")
    for item in batch.items {
      let trajectory = item.trajectory
      try trajectory.validate(vocabularySize: vocabularySize, contextLength: 14)
      #expect(trajectory.prompt.count == 5 && trajectory.completionCount == 9 && trajectory.scoredCount == 9)
      guard case .soft(let soft) = trajectory.segments[0] else {
        Issue.record("no soft segment")
        return
      }
      #expect((0..<soft.count).allSatisfy { Set(soft.tokenIDs[$0]).count == 5 })
    }
    #expect(Set(batch.items.map(\.trajectory.prompt)).count == 3)
    #expect(batch.microBatches.flatMap(\.self).sorted() == Array(0..<6))
    #expect(abs(batch.items.reduce(0) { $0 + $1.weight * Double($1.trajectory.scoredCount) } - 1) < 1e-9)
  }

  @Test func relabellingKeepsTheEmittedTokens() throws {
    let soft = try batch(vocabularySize: 23)
    let discrete = soft.relabelled()
    #expect(discrete.policy == "discrete" && discrete.microBatches == soft.microBatches)
    for (a, b) in zip(soft.items, discrete.items) {
      try b.trajectory.validate(vocabularySize: 23, contextLength: 14)
      #expect(b.trajectory.policy.kind == .discrete && b.trajectory.segments.count == a.trajectory.segments.count)
      guard case .soft(let from) = a.trajectory.segments[0], case .discrete(let to) = b.trajectory.segments[0] else {
        Issue.record("not relabelled")
        return
      }
      #expect(to.tokenIDs == (0..<from.count).map { from.tokenIDs[$0].first })
      #expect(a.trajectory.segments[1] == b.trajectory.segments[1])
    }
  }

  /// Rows are those of the learner's own plan; operations are counted by hand for one pass.
  @Test func operationsAreThoseOfThePlan() throws {
    let c = TinyModel.configuration(.llama)
    let soft = try batch(vocabularySize: c.vocabularySize)
    let plans = soft.microBatches.map { indices in ScoringPlan(indices.map { soft.items[$0].trajectory }) }
    let count = UpdateOperations(soft, configuration: c)
    #expect(count.rows == plans.reduce(0) { $0 + $1.batch.rowCount })
    // A group of 5 + 2 x 8 rows fills a pass of 24.
    #expect(soft.microBatches.count == 3 && count.rows == 63)
    let positions = 3 * ((1 + 2 + 3 + 4 + 5) + 2 * (6 + 7 + 8 + 9 + 10 + 11 + 12 + 13))
    #expect(count.attention == Double(14 * positions * c.layerCount * c.headCount * c.headDimension))
    #expect(count.projections == Double(6 * 63 * c.layerMatrixWeights))
    #expect(
      count.head == Double(6 * (6 * 5 * 6 * c.hiddenSize) + 6 * (6 * 3) * c.vocabularySize * c.hiddenSize))
    let discrete = UpdateOperations(soft.relabelled(), configuration: c)
    #expect(discrete.rows == count.rows && discrete.projections == count.projections)
    #expect(discrete.head == Double(6 * (6 * 9) * c.vocabularySize * c.hiddenSize))
  }
}
