import Foundation
import JSON
import RunConfiguration
import Templates
import Tokenization

/// How prompts become what a model reads: the user's words for it.
public struct PromptRendering: Sendable {
  /// `auto` (the template that comes with the model), `plain`, the name of a family, or a file with a template.
  public var chatTemplate = "auto"
  /// Put before a conversation that begins without a system message; nil: the template's own.
  public var systemPrompt: String?
  /// What the template sees besides the conversation, over the model's own special tokens. `now` is no variable but the
  /// time that `strftime_now` takes.
  public var variables = JSONObject()
  public var specialTokensInText = SpecialTokensInText.text

  public init(chatTemplate: String = "auto") { self.chatTemplate = chatTemplate }

  /// The keys of a run's `model` section.
  public init(_ model: ModelSection) {
    chatTemplate = model.chatTemplate
    systemPrompt = model.systemPrompt
    variables = model.templateVariables
    specialTokensInText = model.specialTokensInText == .text ? .text : .control
  }

  /// The template of a model's tokenizer.
  ///
  /// - Throws: an error naming the setting, the file or the template's line, and the remedy.
  func template(for tokenizer: Tokenizer) throws -> ChatTemplate {
    var template: ChatTemplate
    switch chatTemplate {
    case "auto":
      if let source = try tokenizer.chatTemplates.standard() {
        template = try ChatTemplate(source: source, name: "of the model")
        if let source = tokenizer.chatTemplates.forTools { try template.useForTools(source: source) }
      } else {
        template = try .absent(tokens: tokenizer.addedTokens.map(\.content))
      }
    case "plain": template = .plain
    default:
      if let family = ChatTemplate.Family(rawValue: chatTemplate) {
        template = try ChatTemplate(family: family)
      } else {
        template = try ChatTemplate(source: try Self.read(chatTemplate), name: chatTemplate)
      }
    }
    template.systemPrompt = systemPrompt
    for (name, token) in tokenizer.specialTokenNames { template.variables[name] = .string(token) }
    try add(variables, to: &template)
    return template
  }

  private static func read(_ path: String) throws -> String {
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw LoadingError(
        "chat_template (--chat-template): \"\(path)\" is neither auto, plain, chatml, llama3 or deepseek nor a file that "
          + "can be read")
    }
    guard let source = String(validating: bytes, as: UTF8.self) else { throw LoadingError("\(path): is not UTF-8") }
    return source
  }

  private func add(_ variables: JSONObject, to template: inout ChatTemplate) throws {
    for (name, value) in variables.members {
      func fault(_ reason: String) -> LoadingError {
        LoadingError("template_variables (--template-variable): \(name): \(reason)")
      }
      guard let source = template.source else {
        throw fault("the prompts of this model go through no template; remove it")
      }
      if name == "now" {
        guard let now = value.stringValue.flatMap({ LocalTime($0) }) else {
          throw fault("must be a local time as text, such as \"2025-07-04\" or \"2025-07-04T15:30:00\"")
        }
        template.now = now
        continue
      }
      guard !["messages", "add_generation_prompt", "tools", "documents"].contains(name) else {
        throw fault("is the conversation's own; choose another name or remove it")
      }
      guard case .template(let parsed) = template.kind, parsed.mentions(name) else {
        let known = ["enable_thinking", "thinking", "date_string", "reasoning_effort", "model_identity"].filter {
          source.contains($0)
        }
        throw fault(
          "the chat template \(template.name) reads no such variable; remove it"
            + (known.isEmpty ? "" : " or use one it reads: \(known.joined(separator: ", "))"))
      }
      template.variables[name] = value
    }
  }
}

/// A prompt as a model reads it, for people.
public struct RenderedPrompt: Sendable {
  public var text: String
  public var tokenCount: Int
  /// What is likely wrong with it.
  public var warning: String?

  /// The text by lines; characters that would steer a terminal are shown by their code.
  public var display: String {
    var out = ""
    for scalar in text.unicodeScalars {
      if scalar.value < 0x20 && scalar != "\n" || (0x7F...0x9F).contains(scalar.value) {
        out += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
    return out.split(separator: "\n", omittingEmptySubsequences: false).map { "  | " + $0 }.joined(separator: "\n")
  }
}
