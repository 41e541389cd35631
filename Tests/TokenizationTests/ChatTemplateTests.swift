import Foundation
import JSON
import Templates
import Testing

@testable import Tokenization

struct ChatTemplateTests {
  private static let chatml =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

  private func render(
    _ template: ChatTemplate, _ turns: [(String, String)], opens: Bool = true
  ) throws -> String {
    let messages = turns.map { ChatMessage(role: $0.0, content: $0.1).object }
    return try template.render(messages: messages, addGenerationPrompt: opens).text
  }

  @Test func runsTheModelsOwnTemplate() throws {
    let template = try ChatTemplate(source: Self.chatml, name: "t")
    #expect(
      try render(template, [("user", " hi ")]) == "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n")
    #expect(try render(template, [("user", "hi")], opens: false) == "<|im_start|>user\nhi<|im_end|>\n")
  }

  @Test func systemPromptStandsBeforeConversationsWithoutOne() throws {
    var template = try ChatTemplate(
      source: "{% for m in messages %}{{ m.role[0] }}:{{ m.content }} {% endfor %}", name: "t")
    template.systemPrompt = "be brief"
    #expect(try render(template, [("user", "q")]) == "s:be brief u:q ")
    #expect(try render(template, [("system", "s"), ("user", "q")]) == "s:s u:q ")
  }

  @Test func variablesAndTimeReachTheTemplate() throws {
    var template = try ChatTemplate(source: "{{ bos_token }}{{ strftime_now('%Y') }}{{ thinking }}", name: "t")
    template.variables["bos_token"] = "<s>"
    template.variables["thinking"] = false
    template.now = LocalTime("2025-07-04")
    #expect(try render(template, [("user", "q")]) == "<s>2025False")
  }

  @Test func refusalsSayWhichTemplateAndWhatToDo() throws {
    let refusing = try ChatTemplate(source: "\n{{ raise_exception('no system') }}", name: "model/x.jinja")
    let refusal = message { try render(refusing, [("user", "q")]) }
    #expect(refusal.contains("model/x.jinja, line 2: the template refuses the conversation: no system"))
    let lacking = message { try ChatTemplate(source: "{% include 'x' %}", name: "t") }
    #expect(lacking.contains("the tag 'include' is not supported") && lacking.contains("`chat_template`"))
  }

  @Test func plainJoinsContents() throws {
    #expect(try render(.plain, [("user", "1+1="), ("assistant", "2")]) == "1+1=\n2")
    #expect(try ChatTemplate.absent(tokens: ["<pad>"]).isPlain)
    #expect(message { try ChatTemplate.absent(tokens: ["<|im_start|>", "<|im_end|>"]) }.contains("`chatml`"))
  }

  @Test func familiesRender() throws {
    let turns = [("user", " hi "), ("assistant", "<think>t</think>yo"), ("user", "so?")]
    #expect(
      try render(ChatTemplate(family: .chatml), turns)
        == "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n<think>t</think>yo<|im_end|>\n<|im_start|>user\nso?"
        + "<|im_end|>\n<|im_start|>assistant\n")
    #expect(
      try render(ChatTemplate(family: .llama3), [("system", "S "), ("user", " hi ")])
        == "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        + "Today Date: 26 Jul 2024\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        + "<|start_header_id|>assistant<|end_header_id|>\n\n")
    #expect(
      try render(ChatTemplate(family: .deepseek), [("system", "S")] + turns)
        == "<｜begin▁of▁sentence｜>S<｜User｜> hi <｜Assistant｜>yo<｜end▁of▁sentence｜><｜User｜>so?<｜Assistant｜><think>\n")
  }

  @Test func toolsReachTheTemplateOrAreRefused() throws {
    let turn = [ChatMessage(role: "user", content: "q").object]
    let tools = try JSONValue(parsing: Array(#"[{"type": "function", "function": {"name": "add"}}]"#.utf8))
    var template = try ChatTemplate(
      source: "{% if tools %}{{ tools[0].function.name }} {% endif %}{{ messages[0].content }}", name: "t")
    #expect(try template.render(messages: turn, tools: tools).text == "add q")
    #expect(try template.render(messages: turn).text == "q")
    try template.useForTools(source: "T{{ tools | length }}")
    #expect(try template.render(messages: turn, tools: tools).text == "T1")
    #expect(try template.render(messages: turn).text == "q")
    let deaf = try ChatTemplate(source: "{{ messages[0].content }}", name: "deaf")
    let refusal = message { try deaf.render(messages: turn, tools: tools) }
    #expect(refusal.contains("deaf: it has no place for the prompt's tools"))
    #expect(message { try ChatTemplate.plain.render(messages: turn, tools: tools) }.contains("no place"))
  }

  @Test func openedThoughtIsSeen() {
    #expect(ChatTemplate.openedThought(in: "<|im_start|>assistant\n<think>\n")?.close == "</think>")
    #expect(ChatTemplate.openedThought(in: "[THINK]")?.close == "[/THINK]")
    #expect(ChatTemplate.openedThought(in: "<think>\n\n</think>\n\n") == nil)
  }

  @Test func severalTemplatesHaveADefault() throws {
    let json =
      #"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}],"#
      + #" "bos_token": {"content": "<s>"}, "extra_special_tokens": {"image_token": "<i>"}}"#
    let configuration = try TokenizerConfiguration(json: Array(json.utf8), fileName: "f")
    #expect(try configuration.chatTemplates.standard() == "D")
    #expect(configuration.specialTokenNames.map(\.name) == ["bos_token", "image_token"])
    #expect(try TokenizerConfiguration(json: configuration.json(), fileName: "f") == configuration)
    let unclear = ChatTemplateSources(named: [("a", "A"), ("b", "B")])
    #expect(message { try unclear.standard() }.contains("\"a\", \"b\""))
  }

  /// Older directories name their special tokens in a file of its own; what `tokenizer_config.json` says goes before it.
  @Test func specialTokensMapCompletesTheRoles() throws {
    var configuration = try TokenizerConfiguration(
      json: Array(#"{"eos_token": "<|im_end|>", "pad_token": null}"#.utf8), fileName: "f")
    let map =
      #"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": "<pad>", "boi_token": "<i>","#
      + #" "additional_special_tokens": ["<a>", "<b>"], "unk_token": null}"#
    try configuration.complete(specialTokensMap: Array(map.utf8), fileName: "m")
    #expect(configuration.beginningOfSequenceToken == "<s>" && configuration.endOfSequenceToken == "<|im_end|>")
    #expect(configuration.specialTokenNames.map(\.name) == ["eos_token", "bos_token", "pad_token", "boi_token"])
    for wrong in ["[]", #"{"bos_token": 3}"#] {
      let error = #expect(throws: TokenizationError.self) {
        configuration = TokenizerConfiguration()
        try configuration.complete(specialTokensMap: Array(wrong.utf8), fileName: "m.json")
      }
      #expect(error.map { "\($0)" }?.hasPrefix("m.json: ") == true)
    }
  }
}

/// Special tokens that stand in a user's text.
struct MarkedEncodingTests {
  private let tokenizer: Tokenizer
  private let protected: Set<Int32>

  init() throws {
    tokenizer = try Fixture.tokenizer("qwen2")
    protected = tokenizer.controlTokens(template: nil)
  }

  private func encode(_ parts: [(String, marked: Bool)]) throws -> [Int32] {
    var prompt = MarkedText(text: "", marked: [])
    for (part, marked) in parts {
      let start = prompt.text.utf8.count
      prompt.text += part
      if marked { prompt.marked.append(start..<prompt.text.utf8.count) }
    }
    return try tokenizer.encode(prompt, protected: protected)
  }

  @Test func markedTokensStayText() throws {
    let special = try #require(tokenizer.specialTokens.first)
    let ids = try encode([(special.content, false), ("a " + special.content + " b", true), (special.content, false)])
    #expect(ids.count { $0 == special.id } == 2)
    #expect(ids.first == special.id && ids.last == special.id)
    #expect(tokenizer.decode(ids) == special.content + "a " + special.content + " b" + special.content)
    // A token half written by the user is none either.
    let half = special.content.index(special.content.startIndex, offsetBy: 2)
    let split = try encode([(String(special.content[..<half]), true), (String(special.content[half...]), false)])
    #expect(!split.contains(special.id))
  }

  @Test func otherTextIsAsWithoutMarks() throws {
    let text = "Hello wörld e\u{301} 123  x\n"
    #expect(try encode([(text, true)]) == tokenizer.encode(text))
    #expect(try encode([("Hel", true), ("lo", false)]) == tokenizer.encode("Hello"))
  }
}
