import ArgumentParser
import Cluster
import Foundation
import Kernels
import ModelFiles
import Training
import Transformer

struct Score: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Log-probs of recorded trajectories under a model.",
    discussion: "Writes a JSON list: per trajectory, a list parallel to its segments of lists of log-probs.")

  @OptionGroup var options: ModelOptions

  @Option(help: "Trajectory file (JSONL).")
  var trajectories: String

  @Option(help: "Where the scores go (JSON).")
  var output: String

  @OptionGroup var pass: PassOptions

  func run() throws {
    try checkWritable(output)
    let team = options.team()
    let source = try ModelSource.open(path: options.model)
    let trajectories = try readTrajectories(trajectories, for: source.configuration)
    try ModelMemory.checkSampling(source.configuration)
    let model = PreparedModel(
      try ModelWeights(source: source), backend: try options.backend(), trainable: false,
      positions: longestSequence(trajectories), team: team)
    var progress = PassProgress(label: "score", total: trajectories.count)
    let scores = try scoreTrajectories(
      trajectories, model: model, tokenBudget: pass.microBatchTokens, team: team,
      progress: { progress.update(completed: $0) })
    try writeAtomically(try JSONEncoder().encode(scores), to: output)
  }
}
