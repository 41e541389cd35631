import ArgumentParser
import Foundation
import JSON
import Tasks
import Verifier

struct Reward: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rewards of completions against their reference answers.",
    discussion: """
      Input lines are {"completion": …, "answer": …}; output lines {"reward": …}. With --explain a line says, too, what was \
      taken from the completion and by which rule, how both sides are understood, and why they are equal or not. A \
      reference that cannot be read is never rewarded: stderr names its line.
      """)

  @Option(help: "Completions (JSONL).")
  var input: String
  @Option(help: "Where the rewards go (JSONL); - is the standard output.")
  var output: String
  @Option(help: "math: the final answer equals the reference mathematically; exact: the trimmed text is the reference.")
  var kind = RewardKind(MathReward.name)
  @Flag(help: "Say what was extracted from both sides, by which rule, and why they are equal or not (--kind math).")
  var explain = false

  func validate() throws {
    if explain, kind.name != MathReward.name {
      throw ValidationError("--explain: only --kind math has something to explain")
    }
  }

  func run() throws {
    let rewards = try kind.sum()
    var file = try AtomicFile(path: output)
    var unreadable: [UnreadableReference] = []
    var count = 0
    try JSONLines.forEach(path: input) { line in
      let completion = try line.text("completion")
      let answer = try line.text("answer", orNumber: true)
      // What is not judged is not rewarded; stderr says which those are.
      let query = RewardQuery(answer: answer, completion: Completion(text: completion))
      let reward = try rewards.judge([query])[0].total ?? 0
      count += 1
      if let fault = rewards.referenceFault(answer), reward != 1 {
        unreadable.append(
          UnreadableReference(promptID: line.place, line: line.number, answer: answer, reason: fault))
      }
      try file.write(line: explain ? Self.explained(completion, answer, reward) : "{\"reward\": \(reward)}")
    }
    try file.commit()
    if let notice = UnreadableReference.notice(unreadable, path: input, count: count) {
      FileHandle.standardError.write(Data("warning: \(notice)\n".utf8))
    }
  }

  private static func explained(_ completion: String, _ answer: String, _ reward: Float) -> String {
    let found = MathVerifier().explain(completion, answer: answer)
    var line = "{\"reward\": \(reward), \"verdict\": \"\(found.verdict.rawValue)\""
    let fields: [(String, String?)] = [
      ("rule", found.rule?.rawValue), ("extracted", found.extracted), ("completion", found.completionReading),
      ("reference", found.referenceReading), ("reason", found.reason),
    ]
    for (name, value) in fields {
      line += ", \"\(name)\": "
      if let value { line.appendJSON(value) } else { line += "null" }
    }
    return line + "}"
  }
}
