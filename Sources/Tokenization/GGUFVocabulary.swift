/// The tokenizer metadata of a GGUF file (`tokenizer.ggml.*`), as plain values.
public struct GGUFVocabulary: Sendable {
  /// `tokens`: the vocabulary, in order of id, in the byte alphabet's spelling.
  public var tokens: [String]
  /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; one a token, or none at all.
  public var tokenTypes: [Int32]
  /// `merges`: "left right", the preferred first.
  public var merges: [String]
  /// `pre`: "smollm", "gpt-2", "llama-bpe", "qwen2", "default", …
  public var preTokenizer: String
  /// `bos_token_id`
  public var bosTokenID: Int?
  /// `eos_token_id`
  public var eosTokenID: Int?
  /// `unknown_token_id`
  public var unknownTokenID: Int?
  /// `padding_token_id`
  public var paddingTokenID: Int?
  /// `add_bos_token`
  public var addBOS: Bool
  /// `tokenizer.chat_template` and the named ones, `tokenizer.chat_template.NAME`.
  public var chatTemplates: ChatTemplateSources
  /// `model`: only "gpt2", byte-level BPE, is supported.
  public var modelKind: String

  public init(
    tokens: [String], tokenTypes: [Int32], merges: [String], preTokenizer: String, bosTokenID: Int? = nil,
    eosTokenID: Int? = nil, unknownTokenID: Int? = nil, paddingTokenID: Int? = nil, addBOS: Bool = false,
    chatTemplates: ChatTemplateSources = ChatTemplateSources(),
    modelKind: String = "gpt2"
  ) {
    self.tokens = tokens
    self.tokenTypes = tokenTypes
    self.merges = merges
    self.preTokenizer = preTokenizer
    self.bosTokenID = bosTokenID
    self.eosTokenID = eosTokenID
    self.unknownTokenID = unknownTokenID
    self.paddingTokenID = paddingTokenID
    self.addBOS = addBOS
    self.chatTemplates = chatTemplates
    self.modelKind = modelKind
  }
}

/// Whose reading of a GGUF tokenizer to follow, where the two differ.
public enum GGUFConvention: String, Sendable, CaseIterable {
  /// Hugging Face `transformers`, with `gguf_file=`: "smollm" cuts words as GPT-2 does, "qwen2" text is not normalised,
  /// and "llama-bpe" follows the merges alone. The default. (Control tokens outside the byte alphabet, which
  /// `transformers` drops, are kept.)
  case transformers
  /// The model's own tokenizer.json: "smollm" splits every digit off before it cuts words, so that white space before a
  /// number stays in one token; "qwen2" text is put into form C; "llama-bpe" takes a word that is a token whole.
  case native
}

extension TokenizerDefinition {
  /// The names of `tokenizer.ggml.pre` and their patterns.
  private static let patterns: [(names: [String], pattern: WordPattern)] = [
    (["gpt-2", "default", "smollm"], .gpt2),
    (["llama-bpe", "llama3", "llama-v3", "falcon3", "lfm2"], .llama3),
    (["qwen2", "deepseek-r1-qwen", "megrez"], .qwen2),
  ]

  /// Reads the tokenizer of a GGUF file.
  /// - Throws: `TokenizationError` naming the key that is malformed or not supported.
  init(gguf: GGUFVocabulary, convention: GGUFConvention, fileName: String) throws {
    func fault(_ text: String) -> TokenizationError { TokenizationError("\(fileName): \(text)") }
    guard gguf.modelKind == "gpt2" else {
      throw fault("tokenizer.ggml.model \"\(gguf.modelKind)\" is not supported; supported: \"gpt2\" (byte-level BPE).")
    }
    let names = Self.patterns.flatMap(\.names)
    guard let pattern = Self.patterns.first(where: { $0.names.contains(gguf.preTokenizer) })?.pattern else {
      throw fault(
        "tokenizer.ggml.pre \"\(gguf.preTokenizer)\" is not supported; supported: \(names.joined(separator: ", ")).")
    }
    guard gguf.tokens.count < Int(Self.idLimit) else { throw fault("tokenizer.ggml.tokens holds too many tokens.") }
    guard gguf.tokenTypes.isEmpty || gguf.tokenTypes.count == gguf.tokens.count else {
      throw fault(
        "tokenizer.ggml.token_type has \(gguf.tokenTypes.count) entries for \(gguf.tokens.count) tokens.")
    }
    for (key, id) in [
      ("bos_token_id", gguf.bosTokenID), ("eos_token_id", gguf.eosTokenID), ("unknown_token_id", gguf.unknownTokenID),
      ("padding_token_id", gguf.paddingTokenID),
    ] {
      if let id, !gguf.tokens.indices.contains(id) {
        throw fault("tokenizer.ggml.\(key) is \(id), outside the vocabulary of \(gguf.tokens.count) tokens.")
      }
    }
    vocabulary = gguf.tokens.enumerated().map { (Array($1.utf8), Int32($0)) }
    merges = try gguf.merges.enumerated().map { index, merge in
      let parts = Array(merge.utf8).split(separator: 0x20, omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
        throw fault("tokenizer.ggml.merges[\(index)] is not \"left right\".")
      }
      return (Array(parts[0]), Array(parts[1]))
    }
    addedTokens = gguf.tokenTypes.enumerated().compactMap { index, type in
      guard type == 3 || type == 4, !gguf.tokens[index].isEmpty else { return nil }
      return AddedToken(id: Int32(index), content: gguf.tokens[index], isSpecial: type == 3)
    }
    preTokenizer = PreTokenizer(steps: [.words(pattern)])
    if gguf.preTokenizer == "smollm", convention == .native {
      preTokenizer.steps.insert(.digits(individual: true), at: 0)
    }
    composes = pattern == .qwen2 && convention == .native
    ignoresMerges = pattern == .llama3 && convention == .native
    if gguf.addBOS {
      guard let bos = gguf.bosTokenID else {
        throw fault("tokenizer.ggml.add_bos_token is set without a bos_token_id.")
      }
      template = [.token(Int32(bos)), .text]
    }
    self.fileName = fileName
  }
}
