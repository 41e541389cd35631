/// A question with its reference answer.
public struct Prompt: Sendable, Equatable, Codable {
  /// One turn of a chat.
  public struct Message: Sendable, Equatable, Codable {
    public var role: String
    public var content: String

    public init(role: String, content: String) {
      self.role = role
      self.content = content
    }
  }

  /// What is asked: plain text, or a chat for the model's template.
  public enum Content: Sendable, Equatable, Codable {
    case text(String)
    case messages([Message])
  }

  /// Unique within its file.
  public var id: String
  public var content: Content
  /// What the reward function compares with.
  public var answer: String
  /// The line of its file, from 1; `nil` for a generated prompt.
  public var line: Int?

  public init(id: String, content: Content, answer: String, line: Int? = nil) {
    self.line = line
    self.id = id
    self.content = content
    self.answer = answer
  }

  /// The text of the question; of a chat, its turns' contents by line.
  public var text: String {
    switch content {
    case .text(let text): text
    case .messages(let messages): messages.map(\.content).joined(separator: "\n")
    }
  }
}
