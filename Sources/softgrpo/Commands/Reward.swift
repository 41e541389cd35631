import ArgumentParser
import Foundation
import JSON
import Tasks
import Verifier

struct Reward: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Rewards of completions against their reference answers.",
    discussion: """
      Input lines are {"completion": …, "answer": …}; "question", and the other fields that a line has, go to the rewards \
      that read them. Output lines are {"reward": …}; null, and the reason, where whoever was asked could not judge. With \
      --explain a line says, too, what was taken from the completion and by which rule, how both sides are understood, and \
      why they are equal or not. A reference that cannot be read is never rewarded: stderr names its line.
      """)

  @Option(help: "Completions (JSONL).")
  var input: String
  @Option(help: "Where the rewards go (JSONL); - is the standard output.")
  var output: String
  @Option(
    help: ArgumentHelp("The reward (docs/rewards.md), as a configuration names it.", discussion: RewardKind.lines))
  var kind = RewardKind(MathReward.name)
  @OptionGroup var parameters: ParameterArguments
  @Flag(help: "Say what was extracted from both sides, by which rule, and why they are equal or not (--kind math).")
  var explain = false

  func validate() throws {
    if explain, kind.name != MathReward.name {
      throw ValidationError("--explain: only --kind math has something to explain")
    }
  }

  func run() throws {
    let rewards = try kind.sum(parameters.values(RewardKind.parameters))
    var file = try AtomicFile(path: output)
    var unreadable: [UnreadableReference] = []
    var count = 0
    // Together, so that whoever judges them elsewhere can do so at once.
    var waiting: [(line: JSONLines.Object, query: RewardQuery)] = []
    func judge() throws {
      let judged = try rewards.judge(waiting.map(\.query))
      for ((line, query), verdict) in zip(waiting, judged) {
        count += 1
        let fault = rewards.referenceFault(query.answer, fields: query.fields)
        if let fault, verdict.total != 1 {
          unreadable.append(
            UnreadableReference(promptID: line.place, line: line.number, answer: query.answer, reason: fault))
        }
        if explain {
          try file.write(line: Self.explained(query.completion.text, query.answer, verdict.total ?? 0))
        } else if let reward = verdict.total ?? (fault == nil ? nil : 0) {
          // What has no reference to be compared with is not rewarded; stderr says which those are.
          try file.write(line: "{\"reward\": \(reward)}")
        } else {
          var text = "{\"reward\": null, \"reason\": "
          text.appendJSON(verdict.reason ?? "")
          try file.write(line: text + "}")
        }
      }
      waiting.removeAll()
    }
    try JSONLines.forEach(path: input) { line in
      var fields = line.fields
      for key in ["completion", "answer", "question"] { fields[key] = nil }
      let completion = Completion(text: try line.text("completion"))
      let question = line.fields["question"] == nil ? "" : try line.text("question")
      waiting.append(
        (
          line,
          RewardQuery(
            promptID: line.place, question: question, answer: try line.text("answer", orNumber: true), fields: fields,
            completion: completion, group: count + waiting.count)
        ))
      if waiting.count == 256 { try judge() }
    }
    try judge()
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
