import ArgumentParser
import Credit
import Foundation
import LocalRun
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
    let estimator = try advantageEstimators.make(
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
    let recorded = try readTrajectories(trajectories, for: source.configuration)
    let update = try RecordedUpdate(
      recorded, from: trajectories, source: source, estimator: estimator,
      settings: RecordedUpdate.Settings(
        loss: loss, optimizer: updateOptions,
        adapters: loraRank > 0 ? AdapterOptions(rank: loraRank, alpha: loraAlpha) : nil,
        tokenBudget: pass.microBatchTokens),
      team: team)
    var progress = PassProgress(label: "update", total: recorded.count)
    let result = try update.run(backend: try options.backend(), positions: longestSequence(recorded)) {
      progress.update(completed: $0)
    }
    if let output { try update.write(to: output, baseModel: options.model, exactly: options.dtype == .float32) }
    if let report {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try writeAtomically(try encoder.encode(result), to: report)
    }
  }
}
