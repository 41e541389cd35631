import Foundation
import JSON
import TemplateSyntax
import Testing

@testable import Templates

/// Renders a template that we wrote over a conversation of one user message.
func render(
  _ source: String, _ variables: KeyValuePairs<String, JSONValue> = [:], messages: [JSONValue] = [user("hi")],
  opens: Bool = true
) throws -> MarkedText {
  var object = JSONObject()
  for (name, value) in variables { object[name] = value }
  let conversation = Conversation(
    messages: messages.map { $0.objectValue ?? JSONObject() }, addsGenerationPrompt: opens)
  return try Template(source).render(
    conversation, variables: object, clock: { try #require(LocalTime("2025-07-04T15:30:00")) })
}

func user(_ content: JSONValue) -> JSONValue { .members(["role": "user", "content": content]) }

/// The error of a template that must fail.
func failure(_ source: String, _ variables: KeyValuePairs<String, JSONValue> = [:]) -> TemplateError? {
  do {
    _ = try render(source, variables)
    return nil
  } catch {
    return error as? TemplateError
  }
}

/// Templates made at random, with what jinja2 3.1.6 made of them in the environment of `transformers`.
struct RecordedTests {
  @Test func agreesWithJinja() throws {
    let folder = try #require(Bundle.module.resourceURL).appendingPathComponent("Fixtures")
    let data = try Data(contentsOf: folder.appendingPathComponent("cases.jsonl"))
    var variables = JSONObject()
    var count = 0
    for line in data.split(separator: 0x0A) {
      let record = try JSONValue(parsing: Array(line))
      guard let source = record["template"]?.stringValue else {
        variables = try #require(record["variables"]?.objectValue)
        continue
      }
      count += 1
      let outcome = Result {
        try Template(source).render(
          Conversation(
            messages: [try #require(user("hi").objectValue)], addsGenerationPrompt: true),
          variables: variables, clock: { try #require(LocalTime("2025-01-02")) })
      }
      switch (outcome, record["text"]?.stringValue) {
      case (.success(let rendered), let text?):
        #expect(rendered.text.utf8.elementsEqual(text.utf8), "\(source): \(rendered.text), jinja2: \(text)")
      case (.failure(let error as TemplateError), nil): #expect(error.kind == .failed, "\(source): \(error)")
      default: Issue.record("\(source): \(outcome), jinja2: \(record)")
      }
    }
    #expect(count > 500)
  }
}
