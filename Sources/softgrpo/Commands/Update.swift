import ArgumentParser
import Credit
import Foundation
import Kernels
import Loading
import ModelFiles
import Objectives
import Optimization
import Parameters
import Training
import Trajectories
import Transformer

struct Update: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "One optimiser step on recorded trajectories, offline.",
    discussion: """
      The loss of the whole file as one batch; old log-probs come from the file. Parameters of the objective and the advantage are \
      options, too:

      \(ParameterArguments.help(objectives))
      \(ParameterArguments.help(advantageEstimators))
      """)

  /// Parameters that are options of this command.
  static var parameters: [Parameter] {
    objectives.entries.flatMap(\.parameters) + advantageEstimators.entries.flatMap(\.parameters)
  }

  @OptionGroup var options: ModelOptions

  @Option(help: "Trajectory file (JSONL) with log_probs and rewards.")
  var trajectories: String

  @Option var learningRate = 1e-6
  @Option var weightDecay = 0.01
  @Option(help: "0 turns clipping off.") var maxGradNorm = 1.0
  @Option(help: "What is minimised: \(objectives.names.joined(separator: ", ")).") var objective = "clipped"
  @Option(help: "How rewards become advantages: \(advantageEstimators.names.joined(separator: ", ")).")
  var advantage = "grpo"
  @OptionGroup var parameters: ParameterArguments
  @Option(help: "Train adapters of this rank on frozen weights (LoRA); 0: every weight.") var loraRank = 0
  @Option(help: "The adapters' product is scaled by this / rank; default: 2 x rank.") var loraAlpha: Double?
  @OptionGroup var pass: PassOptions

  @Option(help: "Directory of the updated checkpoint; must not exist or be empty. LoRA's adapters go to DIR.adapter.")
  var output: String?

  @Option(help: "Where the report goes (JSON).")
  var report: String?

  func validate() throws {
    try options.arithmetic.requireTrainable()
    guard (0...AdapterOptions.ranks.upperBound).contains(loraRank) else {
      throw ValidationError("--lora-rank: must be 0 to \(AdapterOptions.ranks.upperBound), got \(loraRank)")
    }
    if let loraAlpha, loraRank == 0 || !(loraAlpha > 0 && loraAlpha.isFinite) {
      throw ValidationError("--lora-alpha: must be a positive number, beside a --lora-rank")
    }
  }

  func run() throws {
    guard output != nil || report != nil else {
      throw CommandError("update: nothing to write: give --output DIR, --report FILE or both")
    }
    let given = try parameters.values(Self.parameters)
    let loss = try Loss(ParameterArguments.describe(objective, given, of: objectives, option: "--objective"))
    var estimator = try advantageEstimators.make(
      ParameterArguments.describe(advantage, given, of: advantageEstimators, option: "--advantage"))
    let updateOptions = UpdateOptions(
      optimizer: AdamW(learningRate: learningRate, weightDecay: weightDecay), maxGradientNorm: maxGradNorm)
    try updateOptions.validate(section: "update")
    if let report { try checkWritable(report) }
    if let output {
      try checkNewDirectory(output)
      if loraRank > 0 { try checkNewDirectory(output + ".adapter") }
    }

    let team = options.team()
    let source = try ModelSource.open(path: options.model)
    let trajectories = try readTrajectories(trajectories, for: source.configuration)
    var batch = try weighted(trajectories, &estimator)
    let state = try trainable(source)
    let model = PreparedModel(
      state.roundedWeights(team: team), backend: try options.backend(), trainable: true,
      positions: longestSequence(trajectories), team: team)
    let gradient = PolicyGradient(team: team)
    let sink = state.gradientSink(backend: model.backend, team: team)
    var sums = NamedSums()
    var progress = PassProgress(label: "update", total: trajectories.count)
    var done = 0
    let passes = microBatches(trajectories, tokenBudget: pass.microBatchTokens)
    if loss.scope >= .group {
      // The objective sees groups, or all of it: log-probs first.
      let formed = try gradient.formCoefficients(
        passes.map { $0.map { batch[$0] } }, model: model, loss: loss)
      for (index, item) in zip(passes.joined(), formed.batches.joined()) { batch[index] = item }
      sums = formed.sums
    }
    for indices in passes {
      sums.merge(
        try gradient.accumulate(
          indices.map { batch[$0] }, model: model, reference: nil, loss: loss, gradient: sink
        ).sums)
      done += indices.count
      progress.update(completed: done)
    }
    let (tensors, master) = trained(state)
    let before = report == nil ? [] : Array(master)
    let (weights, norm) = try state.apply(updateOptions, team: team)
    if let output { try write(state, weights, source, to: output) }
    if let report {
      let result = Report(
        loss: sums[LossSum.policyLoss] ?? 0, advantages: batch.map { $0.advantages[0] }, grad_norm: norm.total,
        grad_norms: Dictionary(uniqueKeysWithValues: zip(tensors.map(\.name), norm.byParameter)),
        update_norms: Dictionary(
          uniqueKeysWithValues: tensors.map { parameter in
            let sum = parameter.range.reduce(0.0) { total, index in
              let difference = Double(master[index]) - Double(before[index])
              return total + difference * difference
            }
            return (parameter.name, sum.squareRoot())
          }),
        lr: learningRate, weight_decay: weightDecay, max_grad_norm: maxGradNorm,
        clip_fraction: sums["actor/pg_clipfrac"], ppo_kl: sums[LossSum.policyKL] ?? 0)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try writeAtomically(try encoder.encode(result), to: report)
    }
  }

  private func trainable(_ source: ModelSource) throws -> any TrainableState {
    try ModelMemory.checkTraining(source.configuration, isAdapted: loraRank > 0)
    if loraRank == 0 { return try LearnerState(source: source) }
    return AdapterState(
      base: try ModelWeights(source: source), options: AdapterOptions(rank: loraRank, alpha: loraAlpha), seed: 1)
  }

  /// What is trained: names and ranges, and the fp32 values.
  private func trained(
    _ state: any TrainableState
  ) -> (parameters: [ParameterLayout.Parameter], master: UnsafeMutableBufferPointer<Float>) {
    switch state {
    case let state as LearnerState: (state.layout.parameters, state.master.elements)
    case let state as AdapterState: (state.adapterLayout.parameters, state.master.elements)
    default: preconditionFailure("a state of another kind")
    }
  }

  /// Advantages and old log-probs of the file as one batch, token mean.
  private func weighted(
    _ trajectories: [Trajectory], _ estimator: inout any AdvantageEstimator
  ) throws -> [WeightedTrajectory] {
    let credits = try estimator.advantages(
      CreditStep(
        trajectories: trajectories.enumerated().map { index, trajectory in
          guard let reward = trajectory.reward else {
            throw CommandError("\(self.trajectories): trajectory \(index + 1) has no reward, which update needs")
          }
          return CreditTrajectory(
            groupID: trajectory.groupID, promptID: trajectory.promptID, reward: reward, length: trajectory.scoredCount,
            isTruncated: trajectory.finishReason == .length)
        }))
    let weights = try LossAggregation.tokenMean.weights(
      tokenCounts: trajectories.indices.map { credits[$0].isKept ? trajectories[$0].scoredCount : 0 })
    return try trajectories.indices.map { index in
      guard let old = trajectories[index].recordedLogProbs else {
        throw CommandError(
          "\(self.trajectories): trajectory \(index + 1) lacks log_probs, which update needs: sample with `softgrpo "
            + "rollout`, or add those of `softgrpo score`")
      }
      return WeightedTrajectory(
        trajectory: trajectories[index], advantages: credits[index].advantages, weight: weights[index],
        stepWeights: credits[index].stepWeights, oldLogProbs: old)
    }
  }

  private func write(
    _ state: any TrainableState, _ weights: ModelWeights, _ source: ModelSource, to output: String
  ) throws {
    let master = options.dtype == .float32 ? (state as? LearnerState)?.master.elements : nil
    try CheckpointWriter.write(
      configuration: state.layout.configuration, elementType: master == nil ? .bfloat16 : .float32,
      tokenizer: .source(source.tokenizer), to: output
    ) { name, body in
      let parameter = state.layout.parameters.first { $0.name == name }!
      if let master {
        try body(.float32(UnsafeBufferPointer(rebasing: master[parameter.range])))
      } else {
        try body(.bfloat16(weights.span(of: parameter)))
      }
    }
    if let state = state as? AdapterState {
      try state.adapters.write(baseModel: options.model, to: output + ".adapter")
    }
  }

  /// Field names are those of the recorded updates.
  private struct Report: Encodable {
    var loss: Double
    var advantages: [Float]
    var grad_norm: Double
    var grad_norms: [String: Double]
    var update_norms: [String: Double]
    var lr: Double
    var weight_decay: Double
    var max_grad_norm: Double
    var clip_fraction: Double?
    var ppo_kl: Double
  }
}
