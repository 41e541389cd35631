/// Writes a Hugging Face `tokenizer.json`, which `transformers` and this library read back to the same ids.
struct TokenizerFileWriter {
  private let definition: TokenizerDefinition
  /// The spelling of an id that the template names.
  private let spelling: (Int32) -> String?

  init(_ definition: TokenizerDefinition, spelling: @escaping (Int32) -> String?) {
    self.definition = definition
    self.spelling = spelling
  }

  func tokenizerJSON() -> [UInt8] {
    var out = JSONText()
    out.raw("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n\"added_tokens\":[")
    out.list(definition.addedTokens.sorted { $0.id < $1.id }) { out, token in
      out.raw("\n{\"id\":\(token.id),\"content\":")
      out.string(token.content.utf8)
      out.raw(
        ",\"single_word\":\(token.isSingleWord),\"lstrip\":\(token.stripsLeft),\"rstrip\":\(token.stripsRight),"
          + "\"normalized\":\(token.isNormalized),\"special\":\(token.isSpecial)}")
    }
    out.raw("],\n\"normalizer\":\(definition.composes ? "{\"type\":\"NFC\"}" : "null"),\n\"pre_tokenizer\":")
    writePreTokenizer(&out)
    out.raw(",\n\"post_processor\":")
    writeTemplate(&out)
    out.raw(
      ",\n\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\n"
        + "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":")
    if let unknown = definition.unknown { out.string(unknown) } else { out.raw("null") }
    out.raw(
      ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":\(definition.fusesUnknown),"
        + "\"byte_fallback\":false,\"ignore_merges\":\(definition.ignoresMerges),\n\"vocab\":{")
    out.list(definition.vocabulary.sorted { $0.id < $1.id }) { out, entry in
      out.string(entry.content)
      out.raw(":\(entry.id)")
    }
    out.raw("},\n\"merges\":[")
    out.list(definition.merges) { out, merge in
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
    let all = definition.preTokenizer.steps
    let prefixes = all.contains(.prefixSpace)
    // A pattern after the prefix, or the last one if it is GPT-2's, belongs to the ByteLevel step.
    let usesPattern = all.last == .words(.gpt2)
    let steps = (usesPattern ? all.dropLast() : all[...]).filter { $0 != .prefixSpace }
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

  private func writeTemplate(_ out: inout JSONText) {
    guard definition.template != [.text] else {
      out.raw("null")
      return
    }
    func name(_ id: Int32) -> [UInt8] { Array((spelling(id) ?? "").utf8) }
    out.raw("{\"type\":\"TemplateProcessing\",\"single\":[")
    out.list(definition.template) { out, piece in
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
    let ids = Set(definition.template.compactMap { if case .token(let id) = $0 { id } else { nil } })
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
