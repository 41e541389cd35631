import ArgumentParser
import Foundation
import Tasks

struct Reward: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rewards of completions against their reference answers.",
    discussion: "Input lines are {\"completion\": …, \"answer\": …}; output lines {\"reward\": …}.")

  @Option(help: "Completions (JSONL).")
  var input: String
  @Option(help: "Where the rewards go (JSONL).")
  var output: String
  @Option(help: "math: the final answer equals the reference mathematically; exact: the trimmed text is the reference.")
  var kind = RewardKind(MathReward.name)

  func run() throws {
    let rewards = try kind.sum()
    var file = try AtomicFile(path: output)
    try JSONLines.forEach(path: input) { line in
      let query = RewardQuery(
        answer: try line.text("answer", orNumber: true), completion: Completion(text: try line.text("completion")))
      let total = try rewards.judge([query])[0].total
      try file.write(line: "{\"reward\": \(total.map { "\($0)" } ?? "null")}")
    }
    try file.commit()
  }
}
