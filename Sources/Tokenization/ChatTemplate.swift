/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable, Codable {
  /// "system", "user" or "assistant", or a role of the model's own.
  public var role: String
  public var content: String

  public init(role: String, content: String) {
    self.role = role
    self.content = content
  }
}

/// How a conversation becomes a prompt, for the common families of models.
///
/// The jinja text that models ship is not run; its family and its default system prompt are read from it. Special tokens
/// written in a message's content become special tokens when the rendering is encoded, as with `transformers`: do not
/// render text from people you do not trust.
public struct ChatTemplate: Sendable, Equatable {
  /// The families, by the name that the configuration key `chat_template` takes.
  public enum Family: String, Sendable, CaseIterable, Codable {
    /// `<|im_start|>role\ncontent<|im_end|>\n`: SmolLM2, Qwen 2, 2.5, 3.
    case chatml
    /// `<|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>`: Llama 3.x Instruct.
    case llama3
    /// `<｜User｜>content<｜Assistant｜>`: DeepSeek-R1 and its distillations.
    case deepseek
    /// The contents one after another, with a line break between them: models without chat tokens.
    case plain
  }

  public var family: Family
  /// The system prompt when the conversation begins without one. For `llama3` it follows the date preamble.
  public var systemPrompt: String?
  /// `llama3`: the date of the system preamble ("Today Date: …", as in Llama 3.1 and later), or nil for Llama 3.0, which
  /// has none. `transformers` writes the current day for Llama 3.2 and 26 Jul 2024 for 3.1; here it is 26 Jul 2024 unless
  /// set, so that a prompt is the same tomorrow.
  public var preambleDate: String?
  /// Text after the assistant's opening: "<think>\n" for DeepSeek-R1.
  public var generationSuffix: String
  /// Whether an earlier assistant turn loses what stands before its last "</think>", as in Qwen 3 and DeepSeek-R1.
  public var dropsEarlierThinking: Bool

  public init(
    family: Family, systemPrompt: String? = nil, preambleDate: String? = nil, generationSuffix: String = "",
    dropsEarlierThinking: Bool = false
  ) {
    self.family = family
    self.systemPrompt = systemPrompt
    self.preambleDate = preambleDate
    self.generationSuffix = generationSuffix
    self.dropsEarlierThinking = dropsEarlierThinking
  }

  /// Takes the family from the configuration.
  /// - Throws: `TokenizationError` listing the names when there is no such family.
  public init(named name: String, systemPrompt: String? = nil) throws {
    guard let family = Family(rawValue: name) else {
      let names = Family.allCases.map(\.rawValue).joined(separator: ", ")
      throw TokenizationError("chat_template: \"\(name)\" is not known; choose one of \(names).")
    }
    self.init(
      family: family, systemPrompt: systemPrompt, preambleDate: family == .llama3 ? Self.defaultDate : nil,
      generationSuffix: family == .deepseek ? "<think>\n" : "", dropsEarlierThinking: family == .deepseek)
  }

  static let defaultDate = "26 Jul 2024"

  /// The prompt of a conversation. It holds the beginning-of-sequence token where the family's template does (`llama3`,
  /// `deepseek`): encode it without adding special tokens.
  /// - Parameter addGenerationPrompt: opens the assistant's turn at the end.
  public func render(messages: [ChatMessage], addGenerationPrompt: Bool = true) -> String {
    var messages = messages
    if dropsEarlierThinking { dropThinking(&messages) }
    switch family {
    case .chatml: return renderChatML(messages, addGenerationPrompt)
    case .llama3: return renderLlama(messages, addGenerationPrompt)
    case .deepseek: return renderDeepSeek(messages, addGenerationPrompt)
    case .plain:
      var contents = messages.map(\.content)
      if let systemPrompt, messages.first?.role != "system" { contents.insert(systemPrompt, at: 0) }
      return contents.joined(separator: "\n")
    }
  }

  private func renderChatML(_ messages: [ChatMessage], _ opensAnswer: Bool) -> String {
    var out = ""
    if let systemPrompt, let first = messages.first, first.role != "system" {
      out += "<|im_start|>system\n" + systemPrompt + "<|im_end|>\n"
    }
    for message in messages { out += "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n" }
    if opensAnswer { out += "<|im_start|>assistant\n" + generationSuffix }
    return out
  }

  private func renderLlama(_ messages: [ChatMessage], _ opensAnswer: Bool) -> String {
    func header(_ role: String) -> String { "<|start_header_id|>" + role + "<|end_header_id|>\n\n" }
    var out = "<|begin_of_text|>"
    var rest = messages[...]
    var system = systemPrompt
    if messages.first?.role == "system" { system = rest.removeFirst().content }
    if preambleDate != nil || system != nil {
      out += header("system")
      if let preambleDate {
        out += "Cutting Knowledge Date: December 2023\nToday Date: " + preambleDate + "\n\n"
      }
      out += Self.trimmed(system ?? "") + "<|eot_id|>"
    }
    for message in rest { out += header(message.role) + Self.trimmed(message.content) + "<|eot_id|>" }
    if opensAnswer { out += header("assistant") + generationSuffix }
    return out
  }

  private func renderDeepSeek(_ messages: [ChatMessage], _ opensAnswer: Bool) -> String {
    var out = "<｜begin▁of▁sentence｜>"
    let systems = messages.filter { $0.role == "system" }
    out += systems.isEmpty ? systemPrompt ?? "" : systems[systems.count - 1].content
    for message in messages where message.role != "system" {
      if message.role == "assistant" {
        out += "<｜Assistant｜>" + message.content + "<｜end▁of▁sentence｜>"
      } else {
        out += "<｜User｜>" + message.content
      }
    }
    if opensAnswer { out += "<｜Assistant｜>" + generationSuffix }
    return out
  }

  private func dropThinking(_ messages: inout [ChatMessage]) {
    let lastQuestion = messages.lastIndex { $0.role == "user" } ?? -1
    for index in messages.indices where messages[index].role == "assistant" {
      guard family == .deepseek || index < lastQuestion else { continue }
      let content = Array(messages[index].content.utf8)
      guard let end = JinjaText.ranges(of: "</think>", in: content).last?.upperBound else { continue }
      let answer = content[end...].drop { family == .chatml && $0 == 0x0A }
      messages[index].content = String(decoding: answer, as: UTF8.self)
    }
  }

  /// Without white space at the ends, as jinja's `trim`.
  private static func trimmed(_ text: String) -> String {
    func isSpace(_ scalar: Unicode.Scalar) -> Bool {
      scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { !isSpace($0) }), let last = scalars.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(scalars[first...last])
  }
}
