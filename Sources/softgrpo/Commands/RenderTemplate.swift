import ArgumentParser
import Foundation
import JSON
import Templates
import TemplateSyntax

struct RenderTemplate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "template",
    abstract: "Conversations through a chat template, as the text that a model reads.",
    discussion: """
      Input lines are {"messages": [{"role", "content", …}, …], "add_generation_prompt": …, "variables": {…}, "now": …}; \
      only "messages" must be there. Output lines are {"text": …}, {"error": …} where the template fails as in Python, or \
      {"unsupported": …} where it needs what this interpreter lacks. See docs/chat-templates.md.
      """)

  @Option(help: "The template: chat_template.jinja of a model.")
  var template: String
  @Option(help: "Conversations (JSONL).")
  var input: String
  @Option(help: "Where the texts go (JSONL).")
  var output: String

  func run() throws {
    guard let bytes = FileManager.default.contents(atPath: template) else {
      throw CommandError("\(template): cannot be read; name the file of a chat template")
    }
    guard let source = String(validating: bytes, as: UTF8.self) else {
      throw CommandError("\(template): is not UTF-8")
    }
    // A template that cannot be read fails for every conversation.
    let parsed = Result { try Template(source) }
    var file = try AtomicFile(path: output)
    try JSONLines.forEach(path: input) { line in
      let request = try Request(line)
      let result: JSONValue
      do {
        result = .members(["text": .string(try request.render(parsed.get()))])
      } catch let error as TemplateError {
        switch error.kind {
        case .raised, .failed: result = .members(["error": .string(error.description)])
        case .unsupported, .limit: result = .members(["unsupported": .string(error.description)])
        }
      }
      try file.write(line: result.encoded(indent: nil))
    }
    try file.commit()
  }

  /// One line of the input.
  private struct Request {
    var conversation: Conversation
    var variables = JSONObject()
    var now: LocalTime?

    init(_ line: JSONLines.Object) throws {
      func wrong(_ key: String, _ kind: String) -> CommandError {
        CommandError("\(line.place): \"\(key)\" must be \(kind)")
      }
      guard case .array(let turns)? = line.fields["messages"] else { throw wrong("messages", "an array of objects") }
      let messages = try turns.map {
        guard case .object(let message) = $0 else { throw wrong("messages", "an array of objects") }
        return message
      }
      conversation = Conversation(messages: messages, addsGenerationPrompt: false)
      switch line.fields["add_generation_prompt"] {
      case nil: break
      case .bool(let adds): conversation.addsGenerationPrompt = adds
      default: throw wrong("add_generation_prompt", "true or false")
      }
      switch line.fields["variables"] {
      case nil: break
      case .object(let given): variables = given
      default: throw wrong("variables", "an object")
      }
      guard let text = line.fields["now"] else { return }
      guard let time = text.stringValue.flatMap({ LocalTime($0) }) else {
        throw wrong("now", "a local time such as \"2025-07-04T15:30:00\"")
      }
      now = time
    }

    func render(_ template: Template) throws -> String {
      try template.render(conversation, variables: variables, clock: { [now] in try now ?? .now() }).text
    }
  }
}
