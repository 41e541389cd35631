import JSON
import Testing

@testable import Templates

/// The characters that came from what a user said are known through every operation.
struct MarkTests {
  /// The rendered text with the marked characters in brackets.
  private func shown(_ source: String, _ content: JSONValue = " <b>, Q ") throws -> String {
    let rendered = try render(source, messages: [user(content)])
    let bytes = Array(rendered.text.utf8)
    var out = ""
    var end = 0
    for range in rendered.marked {
      out += String(decoding: bytes[end..<range.lowerBound], as: UTF8.self)
      out += "[" + String(decoding: bytes[range], as: UTF8.self) + "]"
      end = range.upperBound
    }
    return out + String(decoding: bytes[end...], as: UTF8.self)
  }

  @Test(arguments: [
    ("<{{ messages[0].content }}>", "<[ <b>, Q ]>"),
    ("{{ '<' + messages[0]['content'] | trim + '>' }}", "<[<b>, Q]>"),
    ("{{ messages[0].content.strip() | upper ~ 'é' }}", "[<B>, Q]é"),
    ("{{ messages[0].content[1:4] }}{{ messages[0].content[::-1] | trim }}", "[<b>Q ,>b<]"),
    ("{{ messages[0].content.replace('b', 'think') | trim }}", "[<]think[>, Q]"),
    ("{{ messages[0].content.split(',') | join('+') }}", "[ <b>]+[ Q ]"),
    ("{{ messages[0].content.strip() | tojson }}", "\"[<b>, Q]\""),
    ("{{ '%s|%s' % (messages[0].content | trim, 'x') }}", "[<b>, Q]|x"),
    ("{{ '{}'.format(messages[0].content | trim) }}", "[<b>, Q]"),
    ("{% set x %}a{{ messages[0].content | trim }}{% endset %}{{ x }}", "a[<b>, Q]"),
    ("{% macro m(c) %}<{{ c }}>{% endmacro %}{{ m(messages[0].content | trim) }}", "<[<b>, Q]>"),
    ("{{ [messages[0].content | trim] }}", "['[<b>, Q]']"),
    ("{% for c in messages[0].content | trim %}{{ c }}.{% endfor %}", "[<].[b].[>].[,].[ ].[Q]."),
    ("{{ messages[0].content | trim | title }}{{ messages[0].content.strip().ljust(8, '*') }}", "[<B>, Q<b>, Q]**"),
    ("{{ messages[0].content | escape | trim }}", "[&lt;b&gt;, Q]"),
    ("{{ messages[0].role }}", "user"),
  ])
  func marksFollow(source: String, text: String) throws { #expect(try shown(source) == text) }

  @Test func whatAnAssistantSaidIsNotMarked() throws {
    let rendered = try render(
      "{% for m in messages %}{{ m.content }}{% endfor %}",
      messages: [
        .members(["role": "system", "content": "s"]), .members(["role": "assistant", "content": "<think>a"]),
        .members(["role": "tool", "content": "é"]),
      ])
    #expect(rendered.marked == [0..<1, 9..<11])
  }

  @Test func toolsAreMarkedAndVariablesAreNot() throws {
    let rendered = try render("{{ tools | tojson }}{{ date }}", ["tools": .array(["t"]), "date": "d"])
    #expect(rendered.text == "[\"t\"]d")
    #expect(rendered.marked == [2..<3])
  }

  @Test func partsOfAContentAreMarked() throws {
    let content: JSONValue = .array([.members(["type": "text", "text": "hi"])])
    #expect(try shown("{% for p in messages[0].content %}{{ p.text }}{% endfor %}", content) == "[hi]")
  }
}
