import ArgumentParser
import Foundation
import Kernels
import ModelFiles
import PolicyOptimization
import SoftThinking
import Training
import Transformer

struct Update: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "One optimiser step on recorded trajectories, offline.",
    discussion: "The loss of the whole file as one batch; old log-probs come from the file.")

  @OptionGroup var options: ModelOptions

  @Option(help: "Trajectory file (JSONL) with log_probs and rewards.")
  var trajectories: String

  @Option var learningRate = 1e-6
  @Option var weightDecay = 0.01
  @Option(help: "0 turns clipping off.") var maxGradNorm = 1.0
  @Option(help: "Clip range below 1.") var clipLow: Float = 0.2
  @Option(help: "Clip range above 1.") var clipHigh: Float = 0.2
  @Option(help: "Bound of the loss when the advantage is negative.") var dualClip: Float = 3
  @Option(help: "grpo, dr_grpo or rloo.") var advantage = "grpo"
  @OptionGroup var pass: PassOptions

  @Option(help: "Directory of the updated checkpoint; must not exist or be empty.")
  var output: String?

  @Option(help: "Where the report goes (JSON).")
  var report: String?

  func validate() throws { try options.arithmetic.requireTrainable() }

  func run() throws {
    guard output != nil || report != nil else {
      throw CommandError("update: nothing to write: give --output DIR, --report FILE or both")
    }
    guard let estimator = AdvantageEstimator(rawValue: advantage) else {
      throw CommandError("--advantage: must be grpo, dr_grpo or rloo, got '\(advantage)'")
    }
    let objective = ObjectiveOptions(
      advantage: estimator, clip: ClippedObjective(clipLow: clipLow, clipHigh: clipHigh, dualClip: dualClip),
      klCoefficient: 0)
    try objective.validate(section: "update")
    let updateOptions = UpdateOptions(
      optimizer: AdamW(learningRate: learningRate, weightDecay: weightDecay), maxGradientNorm: maxGradNorm)
    try updateOptions.validate(section: "update")
    if let report { try checkWritable(report) }
    if let output { try checkNewDirectory(output) }

    let team = options.team()
    let source = try ModelSource.open(path: options.model)
    let trajectories = try readTrajectories(trajectories, for: source.configuration)
    let batch = try weighted(trajectories, objective)
    let state = try LearnerState(source: source)
    let model = PreparedModel(
      state.roundedWeights(team: team), backend: try options.backend(), trainable: true,
      positions: longestSequence(trajectories), team: team)
    let gradient = PolicyGradient(team: team)
    var statistics = ObjectiveStatistics()
    var progress = PassProgress(label: "update", total: trajectories.count)
    var done = 0
    for indices in microBatches(trajectories, tokenBudget: pass.microBatchTokens) {
      statistics.merge(
        try gradient.accumulate(
          indices.map { batch[$0] }, model: model, reference: nil, options: objective,
          gradient: state.gradient.base
        ).statistics)
      done += indices.count
      progress.update(completed: done)
    }
    let before = Array(state.master.elements)
    let (weights, norm) = try state.apply(updateOptions, team: team)
    if let output { try write(state, weights, source, to: output) }
    if let report {
      let names = state.layout.parameters.map(\.name)
      let result = Report(
        loss: statistics.policyLoss, advantages: batch.map(\.advantage), grad_norm: norm.total,
        grad_norms: Dictionary(uniqueKeysWithValues: zip(names, norm.byParameter)),
        update_norms: Dictionary(
          uniqueKeysWithValues: state.layout.parameters.map { parameter in
            let sum = parameter.range.reduce(0.0) { total, index in
              let difference = Double(state.master.base[index]) - Double(before[index])
              return total + difference * difference
            }
            return (parameter.name, sum.squareRoot())
          }),
        lr: learningRate, weight_decay: weightDecay, max_grad_norm: maxGradNorm,
        clip_fraction: statistics.clipFraction, ppo_kl: statistics.ppoKL)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try writeAtomically(try encoder.encode(result), to: report)
    }
  }

  /// Advantages and old log-probs of the file as one batch, token mean.
  private func weighted(_ trajectories: [Trajectory], _ objective: ObjectiveOptions) throws -> [WeightedTrajectory] {
    let rewards = try trajectories.enumerated().map { index, trajectory in
      guard let reward = trajectory.reward else {
        throw CommandError("\(self.trajectories): trajectory \(index + 1) has no reward, which update needs")
      }
      return reward
    }
    let advantages = try objective.advantage.advantages(rewards: rewards, groupIDs: trajectories.map(\.groupID))
    let weights = try objective.lossAggregation.weights(tokenCounts: trajectories.map(\.scoredCount))
    return try trajectories.indices.map { index in
      guard let old = trajectories[index].recordedLogProbs else {
        throw CommandError(
          "\(self.trajectories): trajectory \(index + 1) lacks log_probs, which update needs: sample with `softgrpo "
            + "rollout`, or add those of `softgrpo score`")
      }
      return WeightedTrajectory(
        trajectory: trajectories[index], advantage: advantages[index], weight: weights[index], oldLogProbs: old)
    }
  }

  private func write(_ state: LearnerState, _ weights: ModelWeights, _ source: ModelSource, to output: String) throws {
    try CheckpointWriter.write(
      configuration: state.layout.configuration, elementType: options.dtype == .float32 ? .float32 : .bfloat16,
      tokenizer: .source(source.tokenizer), to: output
    ) { name, body in
      let parameter = state.layout.parameters.first { $0.name == name }!
      if options.dtype == .float32 {
        try body(.float32(UnsafeBufferPointer(rebasing: state.master.elements[parameter.range])))
      } else {
        try body(.bfloat16(weights.span(of: parameter)))
      }
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
    var clip_fraction: Double
    var ppo_kl: Double
  }
}
