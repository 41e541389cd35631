import ArgumentParser
import Foundation
import SoftThinking
import Tasks

struct Reward: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rewards of completions: JSONL of {\"completion\", \"answer\"} to JSONL of {\"reward\": …}.")

  enum Kind: String, ExpressibleByArgument, CaseIterable { case math, exact }

  @Option(help: "JSONL with a \"completion\" and an \"answer\" a line.") var input: String
  @Option(help: "Where the rewards go (JSONL).") var output: String
  @Option(help: "math compares final answers mathematically, exact the trimmed text.") var kind = Kind.math

  private struct Pair: Decodable {
    var completion: String
    var answer: String
  }
  private struct Value: Encodable { var reward: Float }

  func run() throws {
    let function: any RewardFunction = kind == .math ? MathReward() : ExactReward()
    let rows = try readJSONLines(input, as: Pair.self)
    try writeJSONLines(
      rows.map { row in
        let completion = Completion(
          text: row.completion, fullText: row.completion, thinkingLength: 0, length: row.completion.count,
          finishReason: .stop)
        return Value(reward: function.reward(completion: completion, answer: row.answer))
      }, to: output)
  }
}
