import Kernels
import Machine
import ModelFiles
import Rollouts
import Thinking
import Trajectories
import Transformer

/// How fast the sampling engine decodes, by batch size, context length and policy.
///
/// Every figure is of the real `SamplingEngine`: prompts are computed, some steps warm it up, then `steps` batched decode
/// steps are timed. The policies take turns, in an order that reverses each round, and medians over the rounds are
/// reported, so that a neighbour's load or a falling clock meets all of them alike.
public struct RolloutBenchmark: Sendable {
  /// What is measured.
  public struct Settings: Sendable, Equatable, Encodable {
    public var batchSizes: [Int]
    /// Prompt lengths; each is measured at every batch size.
    public var promptTokens: [Int]
    public var steps: Int
    public var warmUpSteps: Int
    /// Rounds in which every policy is measured once.
    public var pairs: Int
    /// Samples that share a prompt, and so its key/value pages.
    public var groupSize: Int
    public var policies: [ThinkingPolicy]
    /// The policy whose steps the relabelled discrete run has as tokens, drawn with the same truncation: the first of `policies`
    /// with soft steps that can be trained; nil: there is none, or no ordinary tokens to compare with.
    var compared: (soft: ThinkingPolicy, relabelled: ThinkingPolicy)? {
      guard let soft = policies.first(where: { $0.hasSoftSteps && $0.isTrainable }),
        policies.contains(where: { !$0.hasSoftSteps }),
        let relabelled = try? ThinkingPolicy(ThinkingPolicies.tokens.name, soft.description.values.values)
      else { return nil }
      return (soft, relabelled)
    }

    public init(
      batchSizes: [Int] = [1, 8, 32, 64], promptTokens: [Int] = [69], steps: Int = 64, warmUpSteps: Int = 4,
      pairs: Int = 3, groupSize: Int = 8,
      policies: [ThinkingPolicy] = [ThinkingPolicies.standard, ThinkingPolicies.tokens]
    ) {
      self.batchSizes = batchSizes
      self.promptTokens = promptTokens
      self.steps = steps
      self.warmUpSteps = warmUpSteps
      self.pairs = pairs
      self.groupSize = groupSize
      self.policies = policies
    }

    /// Positions of the longest sequence.
    public var longestSequence: Int { (promptTokens.max() ?? 1) + completion + 2 }
    /// Tokens drawn of every sequence: the first comes from the prompt's pass, and none may be the last.
    var completion: Int { 1 + warmUpSteps + steps + 1 }
  }

  /// A way to draw a token.
  enum Variant: Equatable {
    case policy(ThinkingPolicy)
    /// The soft run's tokens as discrete ones: drawn with the soft policy's truncation.
    case relabelled(ThinkingPolicy)
  }

  let settings: Settings
  let model: PreparedModel
  let dataType: RolloutDataType
  let team: ThreadTeam
  /// Seconds for each of the machine's limits, twice.
  var limitEffort = 0.6

  /// - Parameter dataType: that of the model's matrices.
  /// - Throws: `BenchmarkError` when the settings do not fit the model or the memory.
  public init(_ settings: Settings, model: PreparedModel, dataType: RolloutDataType, team: ThreadTeam) throws {
    self.settings = settings
    self.model = model
    self.dataType = dataType
    self.team = team
    try Self.check(settings, configuration: model.configuration, computeType: model.computeType)
  }

  /// Whether the settings fit a model and this machine's memory; before the model is prepared for nothing.
  ///
  /// - Throws: `BenchmarkError` naming the option.
  public static func check(
    _ settings: Settings, configuration: ModelConfiguration, computeType: ComputeType
  ) throws {
    let c = configuration
    for prompt in settings.promptTokens where prompt + settings.completion + 2 > c.contextLength {
      throw BenchmarkError(
        "a prompt of \(prompt) tokens and \(settings.completion) decode steps exceed the model's context of "
          + "\(c.contextLength): shorten the prompt (--prompt-tokens, --context) or lower --steps")
    }
    for prompt in settings.promptTokens {
      for batch in settings.batchSizes {
        let pages = (batch + 1) * PageGeometry.pageCount(positions: prompt + settings.completion + 2)
        let logits = min(batch, 64) * c.vocabularySize * 4
        try ProcessUsage.require(
          bytes: pages * PageGeometry.blockLength * c.keyValueBytes(computeType) + logits,
          for: "batch \(batch) at a prompt of \(prompt) tokens, for keys and values,",
          remedy: "lower --batch, --prompt-tokens or --context, or take --dtype bfloat16")
      }
    }
  }

  /// Measures every prompt length and batch size, and the machine's limits before and after: the better ones count.
  ///
  /// - Parameter progress: called before each measurement with what is about to be measured.
  /// - Throws: `BenchmarkError`, and `SamplingError` when the model's logits are not usable.
  public func run(progress: (String) -> Void = { _ in }) throws -> RolloutResults {
    progress("the machine's limits")
    let before = MachineLimits.measure(backend: model.backend, dataType: dataType, team: team, effort: limitEffort)
    var variants = settings.policies.map { Variant.policy($0) }
    if let compared = settings.compared { variants.append(.relabelled(compared.relabelled)) }
    var measured: [(policy: ThinkingPolicy, batch: Int, prompt: Int, run: DecodeRun)] = []
    var ratios: [RolloutRatio] = []
    for prompt in settings.promptTokens {
      for batch in settings.batchSizes {
        progress("batch \(batch), prompt of \(prompt) tokens")
        let engine = try SamplingEngine(
          model: model, slots: batch, maximumPositions: prompt + settings.completion + 2, team: team)
        var runs = [[DecodeRun]](repeating: [], count: variants.count)
        for pair in 0..<settings.pairs {
          let order = pair % 2 == 0 ? Array(variants.indices) : variants.indices.reversed()
          for index in order {
            runs[index].append(try measure(variants[index], engine: engine, batch: batch, prompt: prompt, round: pair))
          }
        }
        for (variant, runs) in zip(variants, runs) {
          guard case .policy(let policy) = variant else { continue }
          measured.append((policy, batch, prompt, runs[medianIndex(runs.map(\.seconds))]))
        }
        if let ratio = ratio(variants, runs, batch: batch, prompt: prompt) { ratios.append(ratio) }
      }
    }
    progress("the machine's limits")
    let limits = before.better(
      MachineLimits.measure(backend: model.backend, dataType: dataType, team: team, effort: limitEffort))
    return RolloutResults(
      machine: limits,
      rows: measured.map { row($0.run, $0.policy, batch: $0.batch, prompt: $0.prompt, limits: limits) }, ratios: ratios)
  }

  // MARK: One run

  private func measure(
    _ variant: Variant, engine: SamplingEngine, batch: Int, prompt: Int, round: Int
  ) throws -> DecodeRun {
    let clock = StageClock()
    engine.stages = clock
    let before = engine.statistics
    let requests = try submit(variant, to: engine, batch: batch, prompt: prompt, round: round)
    defer { for id in requests { engine.cancel(id) } }
    try step(engine, batch: batch)
    let prefill = clock.seconds(.prefill)
    let prefilled = engine.statistics.prefilledTokens - before.prefilledTokens
    for _ in 0..<settings.warmUpSteps { try step(engine, batch: batch) }
    clock.reset()
    let cpu = ProcessUsage.cpuSeconds
    let start = MonotonicClock.nanoseconds()
    for _ in 0..<settings.steps { try step(engine, batch: batch) }
    let seconds = Double(MonotonicClock.nanoseconds() - start) * 1e-9
    return DecodeRun(
      seconds: seconds, cpuSeconds: ProcessUsage.cpuSeconds - cpu, stages: clock.seconds, prefillSeconds: prefill,
      prefilledTokens: prefilled)
  }

  private func step(_ engine: SamplingEngine, batch: Int) throws {
    let finished = try engine.step()
    guard finished.isEmpty, engine.activeSlots == batch else {
      throw BenchmarkError("a sequence ended before its benchmark did: \(engine.activeSlots) of \(batch) are left")
    }
  }

  /// Requests whose sequences outlast the run: no token ends them.
  private func submit(
    _ variant: Variant, to engine: SamplingEngine, batch: Int, prompt: Int, round: Int
  ) throws -> [UInt64] {
    let policy: ThinkingPolicy
    var thinking = settings.completion
    switch variant {
    case .policy(let chosen):
      policy = chosen
      // GRPO draws from the whole vocabulary, which is how the answer's tokens are drawn.
      if !chosen.hasSoftSteps { thinking = 0 }
    case .relabelled(let chosen): policy = chosen
    }
    let plan = CompletionPlan(
      thinking: thinking, answer: DiscreteSampling(temperature: policy.scoringTemperature),
      maxAnswerTokens: thinking > 0 ? 1 : settings.completion)
    var ids: [UInt64] = []
    for first in stride(from: 0, to: batch, by: settings.groupSize) {
      let group = first / settings.groupSize
      ids.append(UInt64(group))
      try engine.submit(
        SamplingRequest(
          id: UInt64(group), promptID: "\(group)", groupOrdinal: UInt64(group),
          prompt: benchmarkTokens(prompt, seed: group, vocabularySize: model.configuration.vocabularySize),
          sampleIndices: Array(0..<min(settings.groupSize, batch - first)), policy: policy, plan: plan,
          noise: NoiseKey(seed: UInt64(round)), policyVersion: 0))
    }
    return ids
  }

  // MARK: Figures

  private func row(_ run: DecodeRun, _ policy: ThinkingPolicy, batch: Int, prompt: Int, limits: MachineLimits)
    -> RolloutRow
  {
    let c = model.configuration
    let steps = Double(settings.steps)
    let tokens = Double(batch) * steps
    let tokensPerSecond = tokens / run.seconds
    let own = Double(1 + settings.warmUpSteps) + (steps - 1) / 2
    let groups = (batch + settings.groupSize - 1) / settings.groupSize
    let operations = 2 * Double(c.matrixWeights)
    // What must come from memory at least: every weight once, every distinct position's keys and values once.
    let bytes =
      Double(c.matrixWeights * dataType.weightBytes)
      + (Double(groups * prompt) + Double(batch) * own) * Double(c.keyValueBytes(model.computeType))
    let compute = limits.gemmGflops * 1e9 / operations
    let memory = limits.memoryGigabytesPerSecond * 1e9 / bytes * Double(batch)
    let roofline = min(compute, memory)
    return RolloutRow(
      batch: batch, policy: policy.name, dtype: dataType.rawValue, promptTokens: prompt,
      contextTokens: Double(prompt) + own, tokensPerSecond: tokensPerSecond,
      millisecondsPerStep: run.seconds / steps * 1e3, gflops: operations * tokensPerSecond / 1e9,
      gigabytesPerSecond: bytes * steps / run.seconds / 1e9, rooflineTokensPerSecond: roofline,
      rooflineLimit: compute <= memory ? "compute" : "memory", rooflineFraction: tokensPerSecond / roofline,
      cpuSecondsPerToken: run.cpuSeconds / tokens,
      prefillTokensPerSecond: Double(run.prefilledTokens) / max(run.prefillSeconds, 1e-9),
      stages: Dictionary(
        uniqueKeysWithValues: run.stages.map { ($0.key.name, $0.value / steps * 1e3) }))
  }

  private func ratio(_ variants: [Variant], _ runs: [[DecodeRun]], batch: Int, prompt: Int) -> RolloutRatio? {
    guard let compared = settings.compared, let soft = variants.firstIndex(of: .policy(compared.soft)),
      let discrete = settings.policies.firstIndex(where: { !$0.hasSoftSteps }),
      let twin = variants.firstIndex(of: .relabelled(compared.relabelled))
    else { return nil }
    func ratios(_ other: Int, _ value: (DecodeRun) -> Double) -> Double {
      median(zip(runs[soft], runs[other]).map { value($0) / value($1) })
    }
    return RolloutRatio(
      batch: batch, promptTokens: prompt, pairs: settings.pairs, softOverDiscrete: ratios(twin, \.seconds),
      softOverDiscreteCpu: ratios(twin, \.cpuSeconds), softOverFullVocabulary: ratios(discrete, \.seconds))
  }
}

/// One timed stretch of decoding.
struct DecodeRun {
  var seconds: Double
  var cpuSeconds: Double
  var stages: [StageClock.Stage: Double]
  var prefillSeconds: Double
  var prefilledTokens: Int
}

/// Token ids that look like nothing in particular: the same for the same seed.
func benchmarkTokens(_ count: Int, seed: Int, vocabularySize: Int) -> [Int32] {
  var state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int32((state >> 33) % UInt64(vocabularySize))
  }
}
