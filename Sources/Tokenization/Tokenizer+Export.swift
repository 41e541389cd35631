import JSON

extension Tokenizer {
  /// The `tokenizer.json` of this tokenizer, which `transformers` and this library read back to the same ids: what a
  /// checkpoint of a GGUF model needs.
  public func tokenizerJSON() -> [UInt8] { definition.tokenizerJSON(spelling: vocabulary.spelling(of:)) }

  /// The `tokenizer_config.json` that goes with it.
  public func tokenizerConfigurationJSON() -> [UInt8] {
    TokenizerConfiguration(
      beginningOfSequenceToken: beginningOfSequenceID.flatMap(token(for:)),
      endOfSequenceToken: endOfSequenceID.flatMap(token(for:)), chatTemplates: chatTemplates,
      specialTokenNames: specialTokenNames
    ).json()
  }
}

extension TokenizerConfiguration {
  /// `tokenizer_config.json`.
  public func json() -> [UInt8] {
    var out = JSONText()
    out.raw("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"clean_up_tokenization_spaces\": false")
    for (role, token) in specialTokenNames where Self.roles.contains(role) {
      out.raw(",\n  \"\(role)\": ")
      out.string(token.utf8)
    }
    let others = specialTokenNames.filter { !Self.roles.contains($0.name) }
    if !others.isEmpty {
      out.raw(",\n  \"extra_special_tokens\": {")
      out.list(others) { out, entry in
        out.string(entry.name.utf8)
        out.raw(": ")
        out.string(entry.token.utf8)
      }
      out.raw("}")
    }
    if let templates = chatTemplates.json {
      out.raw(",\n  \"chat_template\": \(templates.encoded(indent: nil))")
    }
    out.raw("\n}\n")
    return out.bytes
  }
}

extension TokenizerDefinition {
  func tokenizerJSON(spelling: (Int32) -> String?) -> [UInt8] {
    var out = JSONText()
    out.raw("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n\"added_tokens\":[")
    out.list(addedTokens.sorted { $0.id < $1.id }) { out, token in
      out.raw("\n{\"id\":\(token.id),\"content\":")
      out.string(token.content.utf8)
      out.raw(
        ",\"single_word\":\(token.isSingleWord),\"lstrip\":\(token.stripsLeft),\"rstrip\":\(token.stripsRight),"
          + "\"normalized\":\(token.isNormalized),\"special\":\(token.isSpecial)}")
    }
    out.raw("],\n\"normalizer\":\(composes ? "{\"type\":\"NFC\"}" : "null"),\n\"pre_tokenizer\":")
    writePreTokenizer(&out)
    out.raw(",\n\"post_processor\":")
    writeTemplate(&out, spelling)
    out.raw(
      ",\n\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\n"
        + "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":")
    if let unknown { out.string(unknown) } else { out.raw("null") }
    out.raw(
      ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":\(fusesUnknown),"
        + "\"byte_fallback\":false,\"ignore_merges\":\(ignoresMerges),\n\"vocab\":{")
    out.list(vocabulary.sorted { $0.id < $1.id }) { out, entry in
      out.string(entry.content)
      out.raw(":\(entry.id)")
    }
    out.raw("},\n\"merges\":[")
    out.list(merges) { out, merge in
      out.raw("[")
      out.string(merge.left)
      out.raw(",")
      out.string(merge.right)
      out.raw("]")
    }
    out.raw("]}}\n")
    return out.bytes
  }

  private func writePreTokenizer(_ out: inout JSONText) {
    let prefixes = preTokenizer.steps.contains(.prefixSpace)
    // A pattern after the prefix, or the last one if it is GPT-2's, belongs to the ByteLevel step.
    let usesPattern = preTokenizer.steps.last == .words(.gpt2)
    let steps = (usesPattern ? preTokenizer.steps.dropLast() : preTokenizer.steps[...]).filter { $0 != .prefixSpace }
    out.raw("{\"type\":\"Sequence\",\"pretokenizers\":[")
    for step in steps {
      switch step {
      case .digits(let individual): out.raw("{\"type\":\"Digits\",\"individual_digits\":\(individual)}")
      case .words(let pattern):
        out.raw("{\"type\":\"Split\",\"pattern\":{\"Regex\":")
        out.string(pattern.regularExpression.utf8)
        out.raw("},\"behavior\":\"Isolated\",\"invert\":false}")
      case .prefixSpace: continue
      }
      out.raw(",")
    }
    out.raw(
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":\(prefixes),\"trim_offsets\":true,\"use_regex\":\(usesPattern)}]}")
  }

  private func writeTemplate(_ out: inout JSONText, _ spelling: (Int32) -> String?) {
    guard template != [.text] else {
      out.raw("null")
      return
    }
    func name(_ id: Int32) -> [UInt8] { Array((spelling(id) ?? "").utf8) }
    out.raw("{\"type\":\"TemplateProcessing\",\"single\":[")
    out.list(template) { out, piece in
      switch piece {
      case .text: out.raw("{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}")
      case .token(let id):
        out.raw("{\"SpecialToken\":{\"id\":")
        out.string(name(id))
        out.raw(",\"type_id\":0}}")
      }
    }
    out.raw(
      "],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
        + "\"special_tokens\":{")
    let ids = Set(template.compactMap { if case .token(let id) = $0 { id } else { nil } })
    out.list(ids.sorted()) { out, id in
      out.string(name(id))
      out.raw(":{\"id\":")
      out.string(name(id))
      out.raw(",\"ids\":[\(id)],\"tokens\":[")
      out.string(name(id))
      out.raw("]}")
    }
    out.raw("}}")
  }
}

/// Pieces of JSON, with strings given as UTF-8.
private struct JSONText {
  private var text = ""

  var bytes: [UInt8] { Array(text.utf8) }

  mutating func raw(_ piece: String) { text += piece }

  mutating func string(_ content: some Collection<UInt8>) { text.appendJSON(String(decoding: content, as: UTF8.self)) }

  mutating func list<Element>(_ elements: some Sequence<Element>, _ write: (inout JSONText, Element) -> Void) {
    for (index, element) in elements.enumerated() {
      if index > 0 { text += "," }
      write(&self, element)
    }
  }
}
