import Foundation
import JSON

/// Builds `tokenizer.json` and `tokenizer_config.json` from the tokenizer a GGUF file carries.
///
/// Throws `ModelFileError` for tokenizers other than byte-level BPE, and for a pre-tokenizer not known here.
func ggufTokenizerFiles(_ metadata: GGUFMetadata) throws -> [String: Data] {
  let vocabulary = try GGUFVocabulary(metadata)
  let scheme = try PreTokenization(metadata)
  let tokenizer = try vocabulary.tokenizerJSON(scheme)
  let configuration = try vocabulary.configurationJSON()
  return [
    "tokenizer.json": Data(tokenizer.encoded().utf8), "tokenizer_config.json": Data(configuration.encoded().utf8),
  ]
}

/// How text is cut before BPE: the four schemes of the supported families, by `tokenizer.ggml.pre`.
private struct PreTokenization {
  var normalizer = JSONValue.null
  var steps: [JSONValue]
  var ignoreMerges = false
  var addsBeginToken = false

  init(_ metadata: GGUFMetadata) throws {
    let name = try metadata.string("tokenizer.ggml.pre") ?? "missing"
    func byteLevel(regex: Bool) -> JSONValue {
      .members(["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(regex)])
    }
    func split(_ pattern: String) -> JSONValue {
      .members([
        "type": "Split", "pattern": .members(["Regex": .string(pattern)]), "behavior": "Isolated", "invert": false,
      ])
    }
    func words(digits: String) -> String {
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\(digits)"
        + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    }
    switch name {
    // transformers, reading the GGUF, and the recorded token ids cut `smollm` text as GPT-2's. SmolLM2's own
    // tokenizer.json also isolates digits first; its vocabulary holds no token of two digits, so the two differ only
    // in a run of spaces before a digit.
    case "gpt-2", "smollm": steps = [byteLevel(regex: true)]
    case "llama-bpe", "llama3", "llama-v3":
      steps = [split(words(digits: "\\p{N}{1,3}")), byteLevel(regex: false)]
      ignoreMerges = true
      addsBeginToken = true
    case "qwen2":
      normalizer = .members(["type": "NFC"])
      steps = [split(words(digits: "\\p{N}")), byteLevel(regex: false)]
    default:
      throw ModelFileError(
        path: metadata.path,
        reason:
          "the pre-tokenizer '\(name)' (tokenizer.ggml.pre) is not supported; supported: gpt-2, smollm, llama-bpe, "
          + "qwen2. Give the Hugging Face directory of the model instead")
    }
    addsBeginToken = try metadata.bool("tokenizer.ggml.add_bos_token") ?? addsBeginToken
  }
}

private struct GGUFVocabulary {
  let metadata: GGUFMetadata
  let tokens: [String]
  /// llama.cpp's token types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
  let types: [Int]
  let merges: [String]

  init(_ metadata: GGUFMetadata) throws {
    func failure(_ reason: String) -> ModelFileError { ModelFileError(path: metadata.path, reason: reason) }
    let model = try metadata.string("tokenizer.ggml.model") ?? "missing"
    guard model == "gpt2" else {
      throw failure("the tokenizer model '\(model)' is not supported; supported: byte-level BPE ('gpt2')")
    }
    guard let tokens = try metadata.strings("tokenizer.ggml.tokens"),
      let merges = try metadata.strings("tokenizer.ggml.merges")
    else { throw failure("tokenizer.ggml.tokens or tokenizer.ggml.merges is missing") }
    let types = try metadata.integers("tokenizer.ggml.token_type") ?? Array(repeating: 1, count: tokens.count)
    guard types.count == tokens.count else {
      throw failure("lists \(tokens.count) tokens but \(types.count) token types")
    }
    guard let bad = merges.first(where: { $0.utf8.count { $0 == 0x20 } != 1 }) else {
      (self.metadata, self.tokens, self.types, self.merges) = (metadata, tokens, types, merges)
      return
    }
    throw failure("the merge '\(bad)' is not two tokens separated by a space")
  }

  private func token(_ key: String) throws -> (text: String, id: Int)? {
    guard let id = try metadata.integer(key) else { return nil }
    guard tokens.indices.contains(id) else {
      throw ModelFileError(path: metadata.path, reason: "\(key) is \(id), outside the list of \(tokens.count) tokens")
    }
    return (tokens[id], id)
  }

  func tokenizerJSON(_ scheme: PreTokenization) throws -> JSONValue {
    var vocabulary = JSONObject()
    var added: [JSONValue] = []
    for (id, token) in tokens.enumerated() where types[id] != 5 {
      guard vocabulary[token] == nil else {
        throw ModelFileError(path: metadata.path, reason: "the token '\(token)' occurs twice in tokenizer.ggml.tokens")
      }
      vocabulary[token] = .integer(id)
      guard types[id] == 3 || types[id] == 4 || types[id] == 2 else { continue }
      added.append(
        .members([
          "id": .integer(id), "content": .string(token), "single_word": false, "lstrip": false, "rstrip": false,
          "normalized": false, "special": .bool(types[id] != 4),
        ]))
    }
    let byteLevel = JSONValue.members([
      "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    ])
    var postProcessor = byteLevel
    if scheme.addsBeginToken, let begin = try token("tokenizer.ggml.bos_token_id") {
      postProcessor = .members([
        "type": "Sequence", "processors": .array([byteLevel, Self.template(begin: begin.text, id: begin.id)]),
      ])
    }
    return .members([
      "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
      "normalizer": scheme.normalizer,
      "pre_tokenizer": .members(["type": "Sequence", "pretokenizers": .array(scheme.steps)]),
      "post_processor": postProcessor, "decoder": byteLevel,
      "model": .members([
        "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
        "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": .bool(scheme.ignoreMerges), "vocab": .object(vocabulary),
        "merges": .array(merges.map { .string($0) }),
      ]),
    ])
  }

  /// Puts the begin token before a text, and before the first of a pair.
  private static func template(begin: String, id: Int) -> JSONValue {
    func special(_ type: Int) -> JSONValue {
      .members(["SpecialToken": .members(["id": .string(begin), "type_id": .integer(type)])])
    }
    func sequence(_ name: String, _ type: Int) -> JSONValue {
      .members(["Sequence": .members(["id": .string(name), "type_id": .integer(type)])])
    }
    var tokens = JSONObject()
    tokens[begin] = .members([
      "id": .string(begin), "ids": .array([.integer(id)]), "tokens": .array([.string(begin)]),
    ])
    return .members([
      "type": "TemplateProcessing", "single": .array([special(0), sequence("A", 0)]),
      "pair": .array([special(0), sequence("A", 0), special(1), sequence("B", 1)]), "special_tokens": .object(tokens),
    ])
  }

  func configurationJSON() throws -> JSONValue {
    var json = JSONObject()
    json["tokenizer_class"] = "PreTrainedTokenizerFast"
    json["add_prefix_space"] = false
    json["clean_up_tokenization_spaces"] = false
    let names = [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    for (name, key) in names {
      if let token = try token("tokenizer.ggml.\(key)_token_id") { json[name] = .string(token.text) }
    }
    if let length = try metadata.string("general.architecture").flatMap({ try metadata.integer("\($0).context_length") }
    ) {
      json["model_max_length"] = .integer(length)
    }
    if let template = try metadata.string("tokenizer.chat_template") { json["chat_template"] = .string(template) }
    return .object(json)
  }
}
