import Kernels
import Machine
import ModelFiles
import Objectives
import Optimization
import Thinking
import Training
import Trajectories
import Transformer

/// How fast the learner updates: gradient of made-up trajectories over micro-batches, then one optimiser step.
///
/// Soft trajectories and the same with their emitted tokens relabelled as discrete ones take turns, in an order that
/// reverses each round; medians over the rounds are reported.
public final class UpdateBenchmark {
  /// Lengths of a trajectory after its prompt.
  public struct Shape: Sendable, Equatable, Encodable {
    public var softSteps: Int
    public var answerTokens: Int

    public init(softSteps: Int, answerTokens: Int) {
      self.softSteps = softSteps
      self.answerTokens = answerTokens
    }
  }

  /// What is measured.
  public struct Settings: Sendable, Equatable, Encodable {
    public var shapes: [Shape]
    public var promptTokens: Int
    public var groups: Int
    public var groupSize: Int
    /// Rows of one packed pass.
    public var microBatchTokens: Int
    /// Rounds: pairs of a soft and a discrete update.
    public var pairs: Int
    public var soft: ThinkingPolicy

    public init(
      shapes: [Shape] = [Shape(softSteps: 24, answerTokens: 12), Shape(softSteps: 180, answerTokens: 20)],
      promptTokens: Int = 100, groups: Int = 8, groupSize: Int = 8, microBatchTokens: Int = 4096, pairs: Int = 3,
      soft: ThinkingPolicy = ThinkingPolicy()
    ) {
      self.shapes = shapes
      self.promptTokens = promptTokens
      self.groups = groups
      self.groupSize = groupSize
      self.microBatchTokens = microBatchTokens
      self.pairs = pairs
      self.soft = soft
    }

    public var longestSequence: Int { promptTokens + (shapes.map { $0.softSteps + $0.answerTokens }.max() ?? 0) }
  }

  let settings: Settings
  let state: any TrainableState
  let model: PreparedModel
  let team: ThreadTeam
  /// Seconds for each of the machine's limits, twice.
  var limitEffort = 0.6
  private let prepareSeconds: Double
  private let gradient: PolicyGradient
  private let loss: Loss
  private let pool = GradientPool()

  /// - Parameter state: its weights are stepped; the passes go on computing with those it had here.
  /// - Throws: `BenchmarkError` when the settings do not fit the model or the memory.
  public init(
    _ settings: Settings, state: any TrainableState, backend: any MatrixBackend, team: ThreadTeam
  ) throws {
    try Self.check(settings, configuration: state.layout.configuration, computeType: backend.computeType)
    self.settings = settings
    self.state = state
    self.team = team
    let start = MonotonicClock.nanoseconds()
    model = PreparedModel(
      state.roundedWeights(team: team), backend: backend, trainable: true, positions: settings.longestSequence,
      team: team)
    prepareSeconds = Double(MonotonicClock.nanoseconds() - start) * 1e-9
    gradient = PolicyGradient(team: team)
    loss = try Loss()
  }

  /// Whether the settings fit a model and this machine's memory; before weights are read for nothing.
  ///
  /// - Throws: `BenchmarkError` naming the option.
  public static func check(
    _ settings: Settings, configuration c: ModelConfiguration, computeType: ComputeType
  ) throws {
    guard settings.longestSequence <= c.contextLength else {
      throw BenchmarkError(
        "trajectories of \(settings.longestSequence) tokens exceed the model's context of \(c.contextLength): lower "
          + "--prompt-tokens, --soft-steps or --answer-tokens")
    }
    guard let k = settings.soft.softSteps?.candidateCount else {
      throw BenchmarkError(
        "policy \(settings.soft.name) draws no soft steps from candidates; measure one that does, such as gumbel")
    }
    guard k <= c.vocabularySize else {
      throw BenchmarkError("--top-k: \(k) exceeds the model's vocabulary of \(c.vocabularySize)")
    }
    let all = settings.groups * (settings.promptTokens + settings.groupSize * settings.longestSequence)
    let rows = max(settings.longestSequence, min(settings.microBatchTokens, all))
    // fp32 master weights, gradient and moments; bf16 weights, old and new; packed matrices and their transposes; what the
    // sum of the micro-batches' gradients holds beside its target.
    let sums = GradientTree(leafCount: (all + rows - 1) / rows).nodesHeldInOrder - 1
    let weights = c.parameterCount * (16 + 4 + 2 * computeType.byteCount + 4 * sums)
    let logits = 256 * c.vocabularySize * (4 + computeType.byteCount)
    try ProcessUsage.require(
      bytes: weights + logits + rows * ActivationTape.bytesPerRow(c, computeType: computeType),
      for: "an update over micro-batches of \(rows) rows", remedy: "lower --micro-batch-tokens")
  }

  /// Measures every shape, and the machine's limits before and after: the better ones count.
  ///
  /// - Parameter progress: called before each measurement with what is about to be measured.
  /// - Throws: `BenchmarkError`, and what the update throws for a model whose log-probs are not finite.
  public func run(progress: (String) -> Void = { _ in }) throws -> UpdateResults {
    progress("the machine's limits")
    let before = MachineLimits.measure(
      backend: model.backend, dataType: RolloutDataType(model.computeType), team: team, effort: limitEffort)
    var measured: [(batch: SyntheticBatch, shape: Shape, run: UpdateRun)] = []
    var ratios: [UpdateRatio] = []
    for shape in settings.shapes {
      let name = "\(shape.softSteps) soft steps and \(shape.answerTokens) answer tokens"
      progress("\(name): warm-up")
      let soft = try SyntheticBatch.soft(settings, shape, vocabularySize: model.configuration.vocabularySize)
      let batches = try [soft, soft.relabelled()].map { try withOwnLogProbs($0) }
      // The first update touches the moments' and the sum's memory for the first time, which costs whoever comes first.
      _ = try measure(batches[0])
      var runs: [[UpdateRun]] = [[], []]
      for pair in 0..<settings.pairs {
        for index in pair % 2 == 0 ? [0, 1] : [1, 0] {
          progress("\(name): round \(pair + 1) of \(settings.pairs), \(batches[index].policy)")
          runs[index].append(try measure(batches[index]))
        }
      }
      for (batch, runs) in zip(batches, runs) {
        measured.append((batch, shape, runs[medianIndex(runs.map(\.seconds))]))
      }
      ratios.append(
        UpdateRatio(
          softSteps: shape.softSteps, answerTokens: shape.answerTokens, pairs: settings.pairs,
          softOverDiscrete: median(zip(runs[0], runs[1]).map { $0.seconds / $1.seconds }),
          softOverDiscreteCpu: median(zip(runs[0], runs[1]).map { $0.cpuSeconds / $1.cpuSeconds })))
    }
    progress("the machine's limits")
    let limits = before.better(
      MachineLimits.measure(
        backend: model.backend, dataType: RolloutDataType(model.computeType), team: team, effort: limitEffort))
    return UpdateResults(
      machine: limits,
      rows: measured.map {
        UpdateRow(
          $0.batch, shape: $0.shape, run: $0.run, settings: settings, configuration: model.configuration,
          limits: limits)
      }, ratios: ratios, prepareSeconds: prepareSeconds)
  }

  /// The old log-probs that a worker would have recorded: the ratio is then 1. The pass also sizes all memory.
  private func withOwnLogProbs(_ batch: SyntheticBatch) throws -> SyntheticBatch {
    var batch = batch
    for indices in batch.microBatches {
      let logProbs = try gradient.accumulate(
        indices.map { batch.items[$0] }, model: model, reference: nil, loss: loss,
        gradient: state.gradientSink(backend: model.backend, team: team)
      ).logProbs
      for (index, values) in zip(indices, logProbs) { batch.items[index].oldLogProbs = values }
    }
    return batch
  }

  private func measure(_ batch: SyntheticBatch) throws -> UpdateRun {
    let clock = StageClock()
    gradient.stages = clock
    let knowsPeak = ProcessUsage.resetPeak()
    let cpu = ProcessUsage.cpuSeconds
    let start = MonotonicClock.nanoseconds()
    clock.resume()
    // As the learner does it: the micro-batches' gradients are summed along the fixed tree.
    let sum = GradientSum(
      tree: GradientTree(leafCount: batch.microBatches.count), into: state.gradientValues, pool: pool, team: team)
    for (leaf, indices) in batch.microBatches.enumerated() {
      let buffer = sum.takeBuffer()
      let sink = state.gradientSink(into: buffer.values, backend: model.backend, team: team)
      _ = try gradient.compute(
        GradientLeaf([indices.map { batch.items[$0] }]), model: model, reference: nil,
        loss: loss, type: .float32, sink: sink, into: buffer)
      clock.resume()
      try sum.insert(buffer, at: sum.tree.leaf(leaf))
      clock.mark(.optimizer)
    }
    sum.finish()
    clock.resume()
    _ = try state.apply(UpdateOptions(), team: team)
    clock.mark(.optimizer)
    return UpdateRun(
      seconds: Double(MonotonicClock.nanoseconds() - start) * 1e-9, cpuSeconds: ProcessUsage.cpuSeconds - cpu,
      stages: clock.seconds, peakBytes: knowsPeak ? ProcessUsage.peakBytes : nil)
  }
}

/// One timed update.
struct UpdateRun {
  var seconds: Double
  var cpuSeconds: Double
  var stages: [StageClock.Stage: Double]
  var peakBytes: Int?
}
