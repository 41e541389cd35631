import Foundation
import Testing

@testable import Tokenization

struct ChatTemplateTests {
  struct Golden: Decodable {
    var messages: [ChatMessage]
    var text: String
  }

  static let smolLM = """
    {% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
    You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
    ' }}{% endif %}{{'<|im_start|>' + message['role'] + '
    ' + message['content'] + '<|im_end|>' + '
    '}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
    ' }}{% endif %}
    """
  static let qwen25 = #"""
    {%- if tools %}{{- '<|im_start|>system\n' }}{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}
    {%- else %}{{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}{%- endif %}
    {%- else %}{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{%- else %}
    {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}{%- endif %}
    """#
  static let qwen3 = #"""
    {%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{%- endif %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
    """#

  private let question = [ChatMessage(role: "user", content: " hi ")]

  @Test func smolLMGolden() throws {
    let template = try ChatTemplate.detect(specials: [], templateText: Self.smolLM)
    let golden = try JSONDecoder().decode([Golden].self, from: Fixture.data("smollm2-chat-template.json"))
    #expect(!golden.isEmpty)
    for sample in golden { #expect(same(template.render(messages: sample.messages), sample.text)) }
  }

  @Test func systemPromptsAreReadFromTheText() throws {
    #expect(
      try ChatTemplate.detect(specials: [], templateText: Self.qwen25).systemPrompt
        == "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
    let qwen3 = try ChatTemplate.detect(specials: [], templateText: Self.qwen3)
    #expect(qwen3.systemPrompt == nil && qwen3.dropsEarlierThinking)
    #expect(qwen3.render(messages: question) == "<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n")
  }

  @Test func ownSystemMessageReplacesTheDefault() throws {
    let template = try ChatTemplate.detect(specials: [], templateText: Self.smolLM)
    let text = template.render(
      messages: [ChatMessage(role: "system", content: "S")] + question, addGenerationPrompt: false)
    #expect(text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n")
  }

  @Test func earlierThinkingIsDropped() throws {
    let qwen3 = try ChatTemplate.detect(specials: [], templateText: Self.qwen3)
    let text = qwen3.render(
      messages: question + [ChatMessage(role: "assistant", content: "<think>\nx\n</think>\n\n4")] + question)
    #expect(text.contains("<|im_start|>assistant\n4<|im_end|>") && !text.contains("x"))
  }

  @Test func llama3() throws {
    let plain = try ChatTemplate.detect(specials: ["<|start_header_id|>", "<|eot_id|>"], templateText: nil)
    #expect(
      plain.render(messages: question)
        == "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        + "<|start_header_id|>assistant<|end_header_id|>\n\n")
    let dated = try ChatTemplate.detect(
      specials: [],
      templateText: "{{- \"<|start_header_id|>system\" }}{{- \"Cutting Knowledge Date: December 2023\\n\" }}")
    #expect(
      dated.render(messages: question, addGenerationPrompt: false)
        == "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        + "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>")
  }

  @Test func deepSeek() throws {
    let template = try ChatTemplate.detect(specials: [], templateText: "{{'<｜User｜>'}}{{'<｜Assistant｜><think>\\n'}}")
    #expect(template.render(messages: question) == "<｜begin▁of▁sentence｜><｜User｜> hi <｜Assistant｜><think>\n")
  }

  @Test func plainAndUnknown() throws {
    let plain = try ChatTemplate.detect(specials: ["<pad>"], templateText: nil)
    #expect(plain.family == .plain)
    #expect(plain.render(messages: [ChatMessage(role: "user", content: "1+1=")]) == "1+1=")
    #expect(
      message { try ChatTemplate.detect(specials: [], templateText: "[INST] {{x}} [/INST]") }.contains("chat_template"))
    #expect(message { try ChatTemplate(named: "mistral") }.contains("chatml, llama3, deepseek, plain"))
    #expect(try ChatTemplate(named: "chatml", systemPrompt: "S").systemPrompt == "S")
  }
}
