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
  var kind = RewardKind.math

  func run() throws {
    let function = kind.function
    var file = try AtomicFile(path: output)
    try JSONLines.forEach(path: input) { line in
      let reward = function.reward(
        completion: Completion(text: try line.text("completion")), answer: try line.text("answer", orNumber: true))
      try file.write(line: "{\"reward\": \(reward)}")
    }
    try file.commit()
  }
}
