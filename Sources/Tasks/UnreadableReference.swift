/// A reference answer that a reward function cannot compare with: its samples are not judged, and not rewarded.
public struct UnreadableReference: Sendable, Equatable {
  public var promptID: String
  /// Line of the prompt file, where the prompt has one.
  public var line: Int?
  public var answer: String
  public var reason: String

  public init(promptID: String, line: Int?, answer: String, reason: String) {
    self.promptID = promptID
    self.line = line
    self.answer = answer
    self.reason = reason
  }

  /// What a run says of such references at its start: how many, the first of them by line, what becomes of them; `nil`
  /// when there are none.
  public static func notice(_ references: [UnreadableReference], path: String, count: Int) -> String? {
    guard !references.isEmpty else { return nil }
    var text =
      "\(path): \(references.count) of \(count) reference answers cannot be read; their samples are not judged and get no "
      + "reward (reward/not_judged counts them): correct or remove these lines"
    for reference in references.prefix(10) {
      let answer = reference.answer.count > 60 ? "\(reference.answer.prefix(60))..." : reference.answer
      text +=
        "\n  \(reference.line.map { "line \($0)" } ?? "prompt \(reference.promptID)"): \"\(answer)\": \(reference.reason)"
    }
    if references.count > 10 { text += "\n  and \(references.count - 10) more" }
    return text
  }
}

extension RewardSum {
  /// The prompts whose reference answers cannot be compared with.
  public func unreadableReferences(_ prompts: [Prompt]) -> [UnreadableReference] {
    prompts.compactMap { prompt in
      referenceFault(prompt.answer, fields: prompt.fields).map {
        UnreadableReference(promptID: prompt.id, line: prompt.line, answer: prompt.answer, reason: $0)
      }
    }
  }
}
