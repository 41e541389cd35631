/// Decoding at one batch size, context length and policy: the median round.
public struct RolloutRow: Sendable, Equatable, Encodable {
  /// Sequences decoded at once.
  public var batch: Int
  public var policy: String
  public var dtype: String
  public var promptTokens: Int
  /// Mean length of a sequence during the timed steps.
  public var contextTokens: Double
  /// Sampled tokens over the time of the decode steps.
  public var tokensPerSecond: Double
  public var millisecondsPerStep: Double
  /// Twice the weights of the matrix products, head included, times tokens a second.
  public var gflops: Double
  /// Weights and distinct keys and values of a step, over its time: what memory must deliver at least.
  public var gigabytesPerSecond: Double
  /// The smaller of what the GEMM peak and the memory bandwidth allow.
  public var rooflineTokensPerSecond: Double
  /// Which of the two it is: compute or memory.
  public var rooflineLimit: String
  public var rooflineFraction: Double
  /// User and system time of all threads.
  public var cpuSecondsPerToken: Double
  public var prefillTokensPerSecond: Double
  /// Milliseconds of a step, by stage.
  public var stages: [String: Double]
}

/// Soft against discrete decoding: medians over the pairs of one batch size and context length.
public struct RolloutRatio: Sendable, Equatable, Encodable {
  public var batch: Int
  public var promptTokens: Int
  public var pairs: Int
  /// Time of the soft run over that of the run with discrete tokens drawn under the same truncation.
  public var softOverDiscrete: Double
  /// The same of processor time.
  public var softOverDiscreteCpu: Double
  /// Time of the soft run over that of the run with tokens drawn from the whole vocabulary, as GRPO draws.
  public var softOverFullVocabulary: Double
}

/// What a run of `RolloutBenchmark` found.
public struct RolloutResults: Sendable, Equatable {
  public var machine: MachineLimits
  public var rows: [RolloutRow]
  public var ratios: [RolloutRatio]
}

/// What `softgrpo bench rollout` prints.
public struct RolloutReport: Sendable, Equatable, Encodable {
  public var benchmark = "rollout"
  public var model: ModelSummary
  public var machine: MachineLimits
  public var settings: RolloutBenchmark.Settings
  public var rows: [RolloutRow]
  public var ratios: [RolloutRatio]
  /// Largest resident memory of the process.
  public var peakMemoryBytes: Int

  public init(
    model: BenchmarkModel, settings: RolloutBenchmark.Settings, results: RolloutResults
  ) {
    self.model = ModelSummary(model)
    machine = results.machine
    self.settings = settings
    rows = results.rows
    ratios = results.ratios
    peakMemoryBytes = ProcessUsage.peakBytes
  }
}
