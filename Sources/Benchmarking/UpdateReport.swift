import Kernels
import ModelFiles
import Thinking
import Training
import Trajectories

/// One update of a shape: the median round.
public struct UpdateRow: Sendable, Equatable, Encodable {
  /// Seconds by part; `other` is what no stage claims.
  public struct Parts: Sendable, Equatable, Encodable {
    public var forward: Double
    public var backward: Double
    /// Logits and their backward pass.
    public var head: Double
    public var optimizer: Double
    public var other: Double
  }

  public var policy: String
  public var dtype: String
  public var softSteps: Int
  public var answerTokens: Int
  public var trajectories: Int
  public var microBatches: Int
  /// Rows computed: a group's prompt once in each micro-batch, the last token of a trajectory not at all.
  public var rows: Int
  public var seconds: Double
  /// Tokens of prompt and completion of every trajectory over the time of gradient and optimiser step.
  public var tokensPerSecond: Double
  public var cpuSeconds: Double
  public var secondsByPart: Parts
  /// Operations that were executed, over the whole time: matrix products, head and attention.
  public var gflops: Double
  public var gemmPeakFraction: Double
  /// Operations of the layers' matrix products over the time in them alone.
  public var projectionGflops: Double
  public var projectionPeakFraction: Double
  /// Largest resident memory during the update; absent where the system cannot tell.
  public var peakMemoryBytes: Int?
  /// Seconds by stage.
  public var stages: [String: Double]

  init(
    _ batch: SyntheticBatch, shape: UpdateBenchmark.Shape, run: UpdateRun, settings: UpdateBenchmark.Settings,
    configuration: ModelConfiguration, limits: MachineLimits
  ) {
    let count = UpdateOperations(batch, configuration: configuration)
    let stage = { (stage: StageClock.Stage) in run.stages[stage] ?? 0 }
    policy = batch.policy
    dtype = limits.dtype
    softSteps = shape.softSteps
    answerTokens = shape.answerTokens
    trajectories = batch.items.count
    microBatches = batch.microBatches.count
    rows = count.rows
    seconds = run.seconds
    let tokens = batch.items.count * (settings.promptTokens + shape.softSteps + shape.answerTokens)
    tokensPerSecond = Double(tokens) / run.seconds
    cpuSeconds = run.cpuSeconds
    let forward =
      stage(.embed) + stage(.norm) + stage(.projections) + stage(.rotation) + stage(.attention) + stage(.gatedUnit)
    let backward = stage(.projectionsBackward) + stage(.attentionBackward) + stage(.elementwiseBackward)
    let head = stage(.head) + stage(.headBackward)
    secondsByPart = Parts(
      forward: forward, backward: backward, head: head, optimizer: stage(.optimizer),
      other: max(0, run.seconds - forward - backward - head - stage(.optimizer)))
    gflops = count.total / run.seconds / 1e9
    gemmPeakFraction = gflops / limits.gemmGflops
    let products = stage(.projections) + stage(.projectionsBackward)
    projectionGflops = products > 0 ? count.projections / products / 1e9 : 0
    projectionPeakFraction = projectionGflops / limits.gemmGflops
    peakMemoryBytes = run.peakBytes
    stages = Dictionary(uniqueKeysWithValues: run.stages.map { ($0.key.name, $0.value) })
  }
}

/// Operations of an update, a multiply-add counted as two.
struct UpdateOperations: Equatable {
  var rows = 0
  /// The layers' matrix products: once forward, twice backward.
  var projections = 0.0
  /// Full rows for discrete tokens, k rows for soft steps: once forward, twice backward.
  var head = 0.0
  /// Two products of queries, keys and values forward, five backward.
  var attention = 0.0

  var total: Double { projections + head + attention }

  init(_ batch: SyntheticBatch, configuration c: ModelConfiguration) {
    var positions = 0.0
    for indices in batch.microBatches {
      var root: [Int32]?
      for index in indices {
        let trajectory = batch.items[index].trajectory
        let prompt = trajectory.prompt.count
        if root != trajectory.prompt {
          root = trajectory.prompt
          rows += prompt
          positions += Double(prompt * (prompt + 1) / 2)
        }
        let own = max(0, trajectory.completionCount - 1)
        rows += own
        positions += Double(own * prompt + own * (own + 1) / 2)
        for segment in trajectory.segments {
          switch segment {
          case .soft(let soft): head += 6 * Double(soft.tokenIDs.elements.count * c.hiddenSize)
          case .discrete(let discrete): head += 6 * Double(discrete.tokenIDs.count) * Double(c.headWeights)
          case .forced, .replayed: break
          }
        }
      }
    }
    projections = 6 * Double(c.layerMatrixWeights) * Double(rows)
    attention = 14 * positions * Double(c.layerCount * c.headCount * c.headDimension)
  }
}

/// Soft against discrete updates: medians over the pairs of one shape.
public struct UpdateRatio: Sendable, Equatable, Encodable {
  public var softSteps: Int
  public var answerTokens: Int
  public var pairs: Int
  /// Time of the soft update over that of the same trajectories relabelled as discrete tokens.
  public var softOverDiscrete: Double
  /// The same of processor time.
  public var softOverDiscreteCpu: Double
}

/// What a run of `UpdateBenchmark` found.
public struct UpdateResults: Sendable, Equatable {
  public var machine: MachineLimits
  public var rows: [UpdateRow]
  public var ratios: [UpdateRatio]
  /// Seconds to round, pack and prepare new weights: what follows a step before the next pass.
  public var prepareSeconds: Double
}

/// What `softgrpo bench update` prints.
public struct UpdateReport: Sendable, Equatable, Encodable {
  public var benchmark = "update"
  public var model: ModelSummary
  public var machine: MachineLimits
  public var settings: UpdateBenchmark.Settings
  public var rows: [UpdateRow]
  public var ratios: [UpdateRatio]
  public var prepareSeconds: Double
  /// Largest resident memory of the process.
  public var peakMemoryBytes: Int

  public init(
    model: BenchmarkModel, settings: UpdateBenchmark.Settings, results: UpdateResults
  ) {
    self.model = ModelSummary(model)
    machine = results.machine
    self.settings = settings
    prepareSeconds = results.prepareSeconds
    rows = results.rows
    ratios = results.ratios
    peakMemoryBytes = max(ProcessUsage.peakBytes, results.rows.compactMap(\.peakMemoryBytes).max() ?? 0)
  }
}
