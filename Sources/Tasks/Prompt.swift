import JSON

/// A question with its reference answer.
public struct Prompt: Sendable, Equatable, Codable {
  /// One turn of a chat.
  public struct Message: Sendable, Equatable, Codable {
    public var role: String
    /// The text; of a content in parts, their texts by line; empty where there is none.
    public var content: String
    /// The whole turn as its file has it; nil: role and content are all there is.
    public var object: JSONObject?

    public init(role: String, content: String, object: JSONObject? = nil) {
      self.role = role
      self.content = content
      self.object = object
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
  /// The other fields of its line, for rewards; nil: there are none.
  public var fields: JSONObject?

  public init(id: String, content: Content, answer: String, line: Int? = nil, fields: JSONObject? = nil) {
    self.line = line
    self.fields = fields
    self.id = id
    self.content = content
    self.answer = answer
  }

  /// The tools that the chat template tells the model of, as the line has them; nil: it has none.
  public var tools: JSONValue? { fields?["tools"] }

  /// The text of the question; of a chat, its turns' contents by line.
  public var text: String {
    switch content {
    case .text(let text): text
    case .messages(let messages): messages.map(\.content).joined(separator: "\n")
    }
  }
}
