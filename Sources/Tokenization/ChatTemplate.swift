import JSON
import Templates
import TemplateSyntax

/// How a conversation becomes the prompt of a model.
public struct ChatTemplate: Sendable {
  /// What renders.
  public enum Kind: Sendable {
    /// The contents one after another, with a line break between them: models without chat tokens.
    case plain
    /// A template in jinja2's language.
    case template(Template)
  }

  public let kind: Kind
  /// Where it comes from, for messages: "tokenizer_config.json", "chatml", a file.
  public let name: String
  /// Put before a conversation that begins without a system message.
  public var systemPrompt: String?
  /// What the template sees besides the conversation: the model's special tokens, then the user's variables.
  public var variables: JSONObject
  /// The time that `strftime_now` takes; nil: the clock's.
  public var now: LocalTime?
  /// Renders conversations with tools; nil: the same template does.
  private var toolUse: Template?

  public init(
    _ kind: Kind, name: String, systemPrompt: String? = nil, variables: JSONObject = JSONObject(), now: LocalTime? = nil
  ) {
    self.kind = kind
    self.name = name
    self.systemPrompt = systemPrompt
    self.variables = variables
    self.now = now
  }

  /// - Parameter name: what messages call the template.
  /// - Throws: `TokenizationError` naming what the template gets wrong or needs, its line, and the remedy.
  public init(source: String, name: String) throws {
    do {
      self.init(.template(try Template(source)), name: name)
    } catch let error as TemplateError {
      throw Self.fault(error, name)
    }
  }

  /// Takes another template for conversations with tools.
  ///
  /// - Throws: as `init(source:name:)`.
  public mutating func useForTools(source: String) throws {
    do { toolUse = try Template(source) } catch let error as TemplateError { throw Self.fault(error, name) }
  }

  public var isPlain: Bool { if case .plain = kind { true } else { false } }

  /// The template's text.
  public var source: String? { if case .template(let template) = kind { template.source } else { nil } }

  /// The prompt of a conversation. It holds the beginning-of-sequence token where the template writes it: encode it
  /// without adding special tokens. (`plain` writes none.)
  ///
  /// - Parameters:
  ///   - messages: objects with a role, a content and whatever else the template reads.
  ///   - tools: a list of objects that the template tells the model of; nil: there are none.
  ///   - addGenerationPrompt: opens the assistant's turn at the end.
  /// - Throws: `TokenizationError` when the template refuses the conversation, needs what its interpreter lacks, or has no place for
  ///   tools.
  public func render(
    messages: [JSONObject], tools: JSONValue? = nil, addGenerationPrompt: Bool = true
  ) throws -> MarkedText {
    var messages = messages
    if let systemPrompt, messages.first?["role"] != "system" {
      messages.insert(ChatMessage(role: "system", content: systemPrompt).object, at: 0)
    }
    switch kind {
    case .plain:
      guard tools == nil else { throw toolsUnread }
      return try Self.joined(messages)
    case .template(let standard):
      let template = tools == nil ? standard : toolUse ?? standard
      var variables = variables
      if let tools {
        guard template.mentions("tools") else { throw toolsUnread }
        variables["tools"] = tools
      }
      do {
        return try template.render(
          Conversation(messages: messages, addsGenerationPrompt: addGenerationPrompt), variables: variables,
          clock: { [now] in try now ?? .now() })
      } catch let error as TemplateError {
        throw Self.fault(error, name)
      }
    }
  }

  private var toolsUnread: TokenizationError {
    TokenizationError(
      "chat template \(name): it has no place for the prompt's tools, so the model would not know of them; choose a template that "
        + "reads `tools`, or remove the prompt's field \"tools\".")
  }

  /// A plain text is what the model reads, as its author wrote it: nothing in it is marked.
  private static func joined(_ messages: [JSONObject]) throws -> MarkedText {
    let contents = try messages.map {
      guard let content = $0["content"]?.stringValue else {
        throw TokenizationError(
          "chat template plain: a message has no text as its content; give one, or choose another template.")
      }
      return content
    }
    return MarkedText(text: contents.joined(separator: "\n"), marked: [])
  }

  private static func fault(_ error: TemplateError, _ name: String) -> TokenizationError {
    let place = "chat template \(name)" + (error.line.map { ", line \($0)" } ?? "")
    switch error.kind {
    case .raised: return TokenizationError("\(place): the template refuses the conversation: \(error.message)")
    case .failed: return TokenizationError("\(place): the template fails: \(error.message)")
    case .unsupported, .limit:
      return TokenizationError(
        "\(place): \(error.message). Set `chat_template` to a file with a template that does without, or to `plain` and "
          + "give prompts as the text that the model reads.")
    }
  }

  /// What a thought begins and ends with, by the models that think in text.
  private static let thoughts: [(open: String, close: String)] = [
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"), ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"), ("<seed:think>", "</seed:think>"),
  ]

  /// The thought that a template opens after it has opened the assistant's turn, by the texts around it.
  /// - Parameter rendered: a prompt with the assistant's turn opened.
  public static func openedThought(in rendered: String) -> (open: String, close: String)? {
    let end = rendered.utf8.reversed().drop { $0 == 0x0A || $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }.reversed()
    let text = String(decoding: Array(end), as: UTF8.self)
    return thoughts.first(where: { text.hasSuffix($0.open) })
  }
}

/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable, Codable {
  /// "system", "user" or "assistant", or a role of the model's own.
  public var role: String
  public var content: String

  public init(role: String, content: String) {
    self.role = role
    self.content = content
  }

  public var object: JSONObject {
    var object = JSONObject()
    object["role"] = .string(role)
    object["content"] = .string(content)
    return object
  }
}
