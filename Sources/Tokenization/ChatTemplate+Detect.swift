extension ChatTemplate {
  /// Finds the template of a model.
  /// - Parameters:
  ///   - specials: the model's added tokens.
  ///   - templateText: its jinja text, when it has one.
  /// - Returns: `plain` when there are neither a text nor known chat tokens.
  /// - Throws: `TokenizationError` when there is a text of no known family: a guess would train on wrong prompts.
  public static func detect(specials: [String], templateText: String?) throws -> ChatTemplate {
    if let templateText { return try detect(Array(templateText.utf8)) }
    func has(_ token: String) -> Bool { specials.contains { $0.utf8.elementsEqual(token.utf8) } }
    if has("<|im_start|>"), has("<|im_end|>") { return ChatTemplate(family: .chatml) }
    if has("<|start_header_id|>"), has("<|eot_id|>") {
      // The tokens for tools came with Llama 3.1, as did the preamble.
      return ChatTemplate(family: .llama3, preambleDate: has("<|python_tag|>") ? defaultDate : nil)
    }
    if has("<｜User｜>"), has("<｜Assistant｜>") {
      return ChatTemplate(family: .deepseek, generationSuffix: "<think>\n", dropsEarlierThinking: true)
    }
    return ChatTemplate(family: .plain)
  }

  private static func detect(_ text: [UInt8]) throws -> ChatTemplate {
    func has(_ part: String) -> Bool { !JinjaText.ranges(of: part, in: text).isEmpty }
    if has("<|im_start|>") {
      return ChatTemplate(
        family: .chatml, systemPrompt: JinjaText.defaultSystemPrompt(of: text), dropsEarlierThinking: has("</think>"))
    }
    if has("<|start_header_id|>") {
      return ChatTemplate(family: .llama3, preambleDate: has("Cutting Knowledge Date") ? defaultDate : nil)
    }
    if has("<｜Assistant｜>") {
      let thinks = has("<｜Assistant｜><think>")
      return ChatTemplate(
        family: .deepseek, generationSuffix: thinks ? "<think>\n" : "", dropsEarlierThinking: has("</think>"))
    }
    throw TokenizationError(
      "the model's chat template is of no known family (ChatML, Llama 3, DeepSeek). Set `chat_template` to one of "
        + "\(Family.allCases.map(\.rawValue).joined(separator: ", ")), or give prompts as plain text.")
  }
}

/// What can be read from a jinja template without running it.
enum JinjaText {
  /// Every place where a text occurs, byte by byte.
  static func ranges(of part: String, in text: [UInt8]) -> [Range<Int>] {
    let wanted = Array(part.utf8)
    var out: [Range<Int>] = []
    var index = 0
    while index + wanted.count <= text.count {
      if text[index] == wanted[0], text[index...].starts(with: wanted) {
        out.append(index..<index + wanted.count)
        index += wanted.count
      } else {
        index += 1
      }
    }
    return out
  }

  /// The system prompt that a ChatML template writes literally: the text between `<|im_start|>system`, a line break
  /// (itself, or `\n` in a jinja string) and `<|im_end|>`, within one jinja string.
  static func defaultSystemPrompt(of text: [UInt8]) -> String? {
    for opening in ranges(of: "<|im_start|>system", in: text) {
      var start = opening.upperBound
      if start < text.count, text[start] == 0x0A {
        start += 1
      } else if text[start...].starts(with: Array("\\n".utf8)) {
        start += 2
      } else {
        continue
      }
      let rest = Array(text[start...])
      guard let end = ranges(of: "<|im_end|>", in: rest).first?.lowerBound, end > 0 else { continue }
      // A quote that is not escaped, or a brace, ends the literal: what follows is computed.
      var literal: [UInt8] = []
      var index = 0
      var isLiteral = true
      while index < end, isLiteral {
        switch rest[index] {
        case UInt8(ascii: "\\") where index + 1 < end:
          index += 1
          literal.append(rest[index] == UInt8(ascii: "n") ? 0x0A : rest[index])
        case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "{"), UInt8(ascii: "}"): isLiteral = false
        default: literal.append(rest[index])
        }
        index += 1
      }
      if isLiteral { return String(decoding: literal, as: UTF8.self) }
    }
    return nil
  }
}
