import ArgumentParser
import Foundation
import Kernels
import Loading
import ModelFiles
import Thinking
import Training
import Trajectories
import Transformer

struct Score: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Log-probs of recorded trajectories under a model.",
    discussion: """
      Writes a JSON list: per trajectory, a list parallel to its segments of lists of log-probs. Where a thinking step has \
      several slots, it has a list of them, as in the trajectory file.
      """)

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
    let shaped = zip(trajectories, scores).map { trajectory, scores in
      zip(trajectory.segments, scores).map { SegmentScores($0, $1, slotCount: trajectory.policy.slotCount) }
    }
    try writeAtomically(try JSONEncoder().encode(shaped), to: output)
  }
}

/// A segment's log-probs in the shape of the trajectory file.
private enum SegmentScores: Encodable {
  case steps([Float])
  case slots([[Float]])

  init(_ segment: Segment, _ scores: [Float], slotCount: Int) {
    guard case .soft(let soft) = segment, slotCount > 1 else {
      self = .steps(scores)
      return
    }
    self = .slots((0..<soft.count).map { Array(scores[$0 * slotCount..<($0 + 1) * slotCount]) })
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .steps(let steps): try container.encode(steps)
    case .slots(let slots): try container.encode(slots)
    }
  }
}
