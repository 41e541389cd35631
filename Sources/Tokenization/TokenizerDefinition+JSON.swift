import JSON

extension TokenizerDefinition {
  /// Reads a Hugging Face `tokenizer.json`.
  /// - Throws: `TokenizationError` naming the file and the part that is malformed or not supported.
  init(tokenizerJSON: [UInt8], fileName: String) throws {
    let root = try parseJSON(tokenizerJSON, fileName: fileName)
    func fault(_ text: String) -> TokenizationError { TokenizationError("\(fileName): \(text)") }
    guard root.objectValue != nil, let model = root["model"], model.objectValue != nil else {
      throw fault("no \"model\" object. Expected a Hugging Face tokenizer.json written by a fast tokenizer.")
    }
    if let type = model["type"]?.stringValue, type != "BPE" {
      throw fault("model type \"\(type)\" is not supported; supported: \"BPE\" (byte-level).")
    }
    guard let entries = model["vocab"]?.objectValue else { throw fault("model.vocab is not an object of token ids.") }
    vocabulary = try entries.members.map { key, value in
      guard let id = value.integerValue, id >= 0, id < Int(Self.idLimit) else {
        throw fault("model.vocab: the id of \"\(key)\" is not in 0..<\(Self.idLimit).")
      }
      return (Array(key.utf8), Int32(id))
    }
    merges = try Self.merges(model["merges"], fault)
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let value = model[key], !value.isNull, value != "" {
        throw fault("model.\(key) is set; a byte-level tokenizer has none and it is not supported.")
      }
    }
    if model["byte_fallback"]?.boolValue == true {
      throw fault("model.byte_fallback (SentencePiece style) is not supported; supported: byte-level BPE.")
    }
    if let dropout = model["dropout"], !dropout.isNull {
      guard dropout.doubleValue == 0 else { throw fault("model.dropout is set; encoding must be deterministic.") }
    }
    unknown = model["unk_token"]?.bytes
    fusesUnknown = model["fuse_unk"]?.boolValue ?? false
    ignoresMerges = model["ignore_merges"]?.boolValue ?? false
    addedTokens = try Self.addedTokens(root["added_tokens"], fault)
    composes = try Self.composes(root["normalizer"], fault)
    preTokenizer = try Self.preTokenizer(root["pre_tokenizer"], fault)
    template = try Self.template(root["post_processor"], fault)
    try Self.checkDecoder(root["decoder"], fault)
    self.fileName = fileName
  }

  private typealias Fault = (String) -> TokenizationError

  private static func merges(_ value: JSONValue?, _ fault: Fault) throws -> [(left: [UInt8], right: [UInt8])] {
    guard let list = value?.arrayValue else { throw fault("model.merges is not a list.") }
    return try list.enumerated().map { index, merge in
      if let line = merge.bytes {
        let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
        if parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty { return (Array(parts[0]), Array(parts[1])) }
      } else if let pair = merge.arrayValue, pair.count == 2, let left = pair[0].bytes, let right = pair[1].bytes {
        return (left, right)
      }
      throw fault("model.merges[\(index)] is neither \"left right\" nor [\"left\", \"right\"].")
    }
  }

  private static func addedTokens(_ value: JSONValue?, _ fault: Fault) throws -> [AddedToken] {
    guard let value, !value.isNull else { return [] }
    guard let list = value.arrayValue else { throw fault("added_tokens is not a list.") }
    return try list.enumerated().map { index, token in
      guard let content = token["content"]?.stringValue, let id = token["id"]?.integerValue, id >= 0, id < Int(idLimit)
      else {
        throw fault("added_tokens[\(index)] lacks a \"content\" or an \"id\" in 0..<\(idLimit).")
      }
      let isSpecial = token["special"]?.boolValue ?? false
      return AddedToken(
        id: Int32(id), content: content, isSpecial: isSpecial,
        isNormalized: token["normalized"]?.boolValue ?? !isSpecial,
        stripsLeft: token["lstrip"]?.boolValue ?? false, stripsRight: token["rstrip"]?.boolValue ?? false,
        isSingleWord: token["single_word"]?.boolValue ?? false)
    }
  }

  private static func composes(_ value: JSONValue?, _ fault: Fault) throws -> Bool {
    guard let value, !value.isNull else { return false }
    switch value["type"]?.stringValue {
    case "NFC": return true
    case "Sequence":
      guard let steps = value["normalizers"]?.arrayValue else { throw fault("normalizer.normalizers is not a list.") }
      return try steps.reduce(false) { try composes($1, fault) || $0 }
    case let type:
      throw fault("normalizer \"\(type ?? "?")\" is not supported; supported: none, NFC, Sequence.")
    }
  }

  private static func preTokenizer(_ value: JSONValue?, _ fault: Fault) throws -> PreTokenizer {
    var steps: [PreTokenizer.Step] = []
    var isByteLevel = false
    func add(_ value: JSONValue) throws {
      if isByteLevel { throw fault("pre_tokenizer: nothing may follow the ByteLevel step.") }
      switch value["type"]?.stringValue {
      case "Sequence":
        guard let list = value["pretokenizers"]?.arrayValue else {
          throw fault("pre_tokenizer.pretokenizers is not a list.")
        }
        for step in list { try add(step) }
      case "Digits": steps.append(.digits(individual: value["individual_digits"]?.boolValue ?? false))
      case "Split": steps.append(.words(try split(value, fault)))
      case "ByteLevel":
        if value["add_prefix_space"]?.boolValue ?? true { steps.append(.prefixSpace) }
        if value["use_regex"]?.boolValue ?? true { steps.append(.words(.gpt2)) }
        isByteLevel = true
      case let type:
        throw fault(
          "pre_tokenizer \"\(type ?? "?")\" is not supported; supported: ByteLevel, Digits, Split with the GPT-2, Llama 3 "
            + "or Qwen 2 expression, Sequence.")
      }
    }
    guard let value, !value.isNull else {
      throw fault("no pre_tokenizer; supported are byte-level tokenizers, whose last step is ByteLevel.")
    }
    try add(value)
    guard isByteLevel else { throw fault("pre_tokenizer: the last step must be ByteLevel.") }
    return PreTokenizer(steps: steps)
  }

  private static func split(_ value: JSONValue, _ fault: Fault) throws -> WordPattern {
    guard let expression = value["pattern"]?["Regex"]?.bytes else {
      throw fault("pre_tokenizer Split: only a pattern {\"Regex\": …} is supported.")
    }
    guard let pattern = WordPattern.recognising(expression) else {
      throw fault(
        "pre_tokenizer Split: the expression \"\(String(decoding: expression, as: UTF8.self))\" is not supported; "
          + "supported: those of GPT-2, Llama 3 and Qwen 2, spelled as in their tokenizer.json.")
    }
    let behavior = value["behavior"]?.stringValue ?? ""
    let inverted = value["invert"]?.boolValue ?? false
    // The patterns match every scalar: keeping the matches is the same as removing what lies between them.
    guard (behavior == "Isolated" && !inverted) || (behavior == "Removed" && inverted) else {
      throw fault("pre_tokenizer Split: behavior \"\(behavior)\" is not supported; supported: Isolated.")
    }
    return pattern
  }

  private static func template(_ value: JSONValue?, _ fault: Fault) throws -> [TemplatePiece] {
    guard let value, !value.isNull else { return [.text] }
    switch value["type"]?.stringValue {
    case "ByteLevel": return [.text]
    case "Sequence":
      guard let list = value["processors"]?.arrayValue else { throw fault("post_processor.processors is not a list.") }
      // Each processor works on the result of those before it.
      return try list.reduce([.text]) { inner, next in
        try template(next, fault).flatMap { $0 == .text ? inner : [$0] }
      }
    case "TemplateProcessing":
      guard let pieces = value["single"]?.arrayValue else { throw fault("post_processor.single is not a list.") }
      return try pieces.flatMap { piece -> [TemplatePiece] in
        if piece["Sequence"] != nil { return [.text] }
        guard let name = piece["SpecialToken"]?["id"]?.stringValue,
          let special = value["special_tokens"]?[name],
          let ids = special["ids"]?.arrayValue
        else { throw fault("post_processor.single names a token that post_processor.special_tokens does not define.") }
        return try ids.map {
          guard let id = $0.integerValue, id >= 0, id < Int(idLimit) else {
            throw fault("post_processor.special_tokens holds an id that is not in 0..<\(idLimit).")
          }
          return .token(Int32(id))
        }
      }
    case let type:
      throw fault(
        "post_processor \"\(type ?? "?")\" is not supported; supported: ByteLevel, TemplateProcessing, Sequence.")
    }
  }

  private static func checkDecoder(_ value: JSONValue?, _ fault: Fault) throws {
    guard let value else { return }
    if value["type"]?.stringValue == "Sequence", let list = value["decoders"]?.arrayValue, list.count == 1 {
      return try checkDecoder(list[0], fault)
    }
    guard value.isNull || value["type"]?.stringValue == "ByteLevel" else {
      throw fault("decoder \"\(value["type"]?.stringValue ?? "?")\" is not supported; supported: ByteLevel.")
    }
  }
}
