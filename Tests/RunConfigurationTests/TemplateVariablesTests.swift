import JSON
import Testing

@testable import RunConfiguration

@Suite struct TemplateVariablesTests {
  private func model(_ yaml: String) throws -> ModelSection {
    try RunConfiguration.parse("task: {kind: arithmetic}\nmodel: \(yaml)", source: "run.yaml").model
  }

  private func problem(_ yaml: String) -> String {
    do {
      _ = try model(yaml)
      return "nothing was thrown"
    } catch { return "\(error)" }
  }

  @Test func valuesKeepTheirKind() throws {
    let variables = try model("{template_variables: {a: false, b: 3, c: 0.5, d: \"3\", e: x, f: null, g: [1, {h: y}]}}")
      .templateVariables
    #expect(variables["a"] == false && variables["b"] == .integer(3) && variables["c"] == .decimal(0.5))
    #expect(variables["d"] == "3" && variables["e"] == "x" && variables["f"] == .null)
    #expect(variables["g"] == .array([.integer(1), .members(["h": "y"])]))
    #expect(variables.members.map(\.key) == ["a", "b", "c", "d", "e", "f", "g"])
  }

  @Test func mistakesAreNamed() {
    #expect(problem("{template_variables: [a]}").contains("expected names with values"))
    #expect(problem("{template_variables: {a b: 1}}").contains("no name of a variable"))
    #expect(problem("{special_tokens_in_text: maybe}").contains("one of text, control"))
    #expect(problem("{chat_templates: auto}").contains("model.chat_template"))
  }

  @Test func templatesOfEarlierFilesAreRead() throws {
    for name in ["auto", "chatml", "llama3", "plain"] {
      #expect(try model("{chat_template: \(name)}").chatTemplate == name)
    }
    #expect(try model("{chat_template: ./mine.jinja}").chatTemplate == "./mine.jinja")
  }
}
