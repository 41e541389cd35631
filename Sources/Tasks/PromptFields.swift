/// Names of the fields of a prompt file's objects.
public struct PromptFields: Sendable, Equatable, Hashable, Codable {
  /// What a user sets the names with, for messages: `task.prompt_field`, `--prompt-field`.
  public struct Settings: Sendable, Equatable, Hashable, Codable {
    public var prompt: String
    public var answer: String
    public var id: String
    public var messages: String

    public init(prompt: String, answer: String, id: String, messages: String) {
      self.prompt = prompt
      self.answer = answer
      self.id = id
      self.messages = messages
    }
  }

  public var prompt: String
  public var answer: String
  public var id: String
  public var messages: String
  /// nil: the names are fixed.
  public var settings: Settings?

  public init(
    prompt: String = "prompt", answer: String = "answer", id: String = "id", messages: String = "messages",
    settings: Settings? = nil
  ) {
    self.prompt = prompt
    self.answer = answer
    self.id = id
    self.messages = messages
    self.settings = settings
  }

  /// What is missing of a line that has `present`, and which setting names which of its fields instead.
  /// - Parameter isAnswer: the answer is missing; else the prompt.
  func missing(answer isAnswer: Bool, present: [String]) -> String {
    let shown = present.sorted().prefix(20).map { "\"\($0.prefix(60))\"" }.joined(separator: ", ")
    let what = isAnswer ? "\"\(answer)\"" : "\"\(prompt)\" or \"\(messages)\""
    var text = "no field \(what); present: \(shown.isEmpty ? "none" : shown)"
    guard let settings else { return text }
    let others = Set(isAnswer ? [prompt, messages, id] : [answer, id])
    let candidates = present.sorted().filter { !others.contains($0) }
    if isAnswer {
      text += "; \(settings.answer) names the field of the answer"
      if let near = Self.nearest(answer, Self.answerNames, candidates) { text += ": probably \"\(near)\"" }
    } else if let near = Self.nearest(messages, Self.messagesNames, candidates) {
      text += "; \(settings.messages) names the field of the messages: probably \"\(near)\""
    } else {
      text += "; \(settings.prompt) names the field of the prompt"
      if let near = Self.nearest(prompt, Self.promptNames, candidates) { text += ": probably \"\(near)\"" }
    }
    return text
  }

  // What public data sets call them, the most telling first.
  private static let promptNames = [
    "prompt", "question", "problem", "query", "instruction", "input", "text", "statement", "task",
  ]
  private static let answerNames = [
    "answer", "final_answer", "expected_answer", "ground_truth", "solution", "target", "reference", "label", "output",
    "response", "completion", "result",
  ]
  private static let messagesNames = [
    "messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns",
  ]

  /// The candidate that is called as `name` or as one of `usual`, whole before in part; else one that begins as `name` does.
  private static func nearest(_ name: String, _ usual: [String], _ candidates: [String]) -> String? {
    let names = [name.lowercased()] + usual
    for wanted in names { if let found = candidates.first(where: { $0.lowercased() == wanted }) { return found } }
    for wanted in names where wanted.count >= 4 {
      if let found = candidates.first(where: { $0.lowercased().contains(wanted) }) { return found }
    }
    return candidates.first { zip($0.lowercased(), names[0]).prefix { $0 == $1 }.count >= 3 }
  }
}
