import Foundation
import Testing

/// `softgrpo template`, and a template in the commands that take a model.
struct TemplateCommandTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let template = """
    {% for message in messages %}
    [{{ message.role }}] {{ message.content }}
    {% endfor %}
    {% if messages[0].content == 'stop' %}{{ raise_exception('stopped') }}{% endif %}
    {% if messages[0].content == 'odd' %}{{ 'x' | urlize }}{% endif %}
    {{ bos_token }}{{ strftime_now('%Y') }}
    {%- if add_generation_prompt %}!{% endif %}
    """

  @Test func eachLineGetsItsOutcome() throws {
    try scratch.write("t.jinja", Self.template)
    try scratch.write(
      "c.jsonl",
      """
      {"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true, \
      "variables": {"bos_token": "<s>"}, "now": "2025-07-04T15:30:00"}
      {"messages": [{"role": "user", "content": "stop"}]}
      {"messages": [{"role": "user", "content": "odd"}]}
      """)
    try scratch.succeed(["template", "--template", "t.jinja", "--input", "c.jsonl", "--output", "o.jsonl"])
    let lines = try objects(scratch.text("o.jsonl"))
    #expect(lines.count == 3)
    #expect(lines[0]["text"] as? String == "[user] hi\n<s>2025!")
    #expect((lines[1]["error"] as? String)?.contains("stopped") == true)
    #expect((lines[2]["unsupported"] as? String)?.contains("urlize") == true)
  }

  @Test func mistakesAreNamed() throws {
    try scratch.write("t.jinja", "x")
    try scratch.write("c.jsonl", "{\"messages\": 3}")
    try scratch.refuse(
      ["template", "--template", "t.jinja", "--input", "c.jsonl", "--output", "out"], saying: ["c.jsonl:1", "messages"])
    try scratch.refuse(
      ["template", "--template", "none", "--input", "c.jsonl", "--output", "out"], saying: ["none: cannot be read"])
  }

  @Test func modelsTakeATemplateAndVariables() throws {
    let model = try Fixture.model(in: scratch)
    try scratch.write("t.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}{{ mode }}")
    try scratch.write("c.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"12\"}]}\n")
    let arguments = ["tokenize", "--model", model, "--input", "c.jsonl", "--output"]
    try scratch.succeed(
      arguments + ["o.jsonl", "--with-text", "--chat-template", "t.jinja", "--template-variable", "mode=3"])
    #expect(try objects(scratch.text("o.jsonl"))[0]["text"] as? String == "123")
    try scratch.refuse(
      arguments + ["out", "--chat-template", "t.jinja", "--template-variable", "mood=3"],
      saying: ["mood", "reads no such"])
    try scratch.refuse(arguments + ["out", "--chat-template", "chatmll"], saying: ["chatmll", "chatml"])
  }
}
