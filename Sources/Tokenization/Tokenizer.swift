/// A byte-level byte-pair tokenizer: text to ids and back, as Hugging Face `tokenizers` does it.
///
/// Text is handled as UTF-8 throughout; canonically equivalent texts are different texts. A value is immutable and may
/// be shared between threads.
public struct Tokenizer: Sendable {
  /// What `encode` does with bytes that have no token, when there is no unknown token.
  public enum MissingBytes: String, Sendable, CaseIterable {
    /// Leaves them out, as `tokenizers` does. (SmolLM2's vocabulary lacks six control characters and the lead bytes F1
    /// and F2, those of the unassigned planes 4 to 11.) `unencodableCharacters(in:)` tells which.
    case drop
    /// Throws, naming the character.
    case refuse
  }

  /// By default `drop` where the vocabulary covers printable ASCII, and so is meant for text at large; `refuse` for
  /// smaller alphabets, where a character left out would change the meaning.
  public var missingBytes: MissingBytes
  let definition: TokenizerDefinition
  let vocabulary: Vocabulary
  let encoder: BytePairEncoder
  let originalMatcher: AddedTokenMatcher
  let normalizedMatcher: AddedTokenMatcher
  /// By id, for `decode(skipSpecialTokens:)`.
  let specialIDs: Set<Int32>
  /// The beginning-of-sequence token, where the source names one.
  public let beginningOfSequenceID: Int32?
  /// The end-of-sequence token, where the source names one.
  public let endOfSequenceID: Int32?
  /// The chat templates that come with the source.
  public let chatTemplates: ChatTemplateSources
  /// What a chat template may call the special tokens: "bos_token" and its like, with their texts.
  public let specialTokenNames: [(name: String, token: String)]

  /// Reads a Hugging Face `tokenizer.json`.
  /// - Parameters:
  ///   - tokenizerJSON: the file's bytes.
  ///   - configuration: what `tokenizer_config.json` adds: the special tokens' roles and the chat template.
  ///   - fileName: what errors call the file.
  /// - Throws: `TokenizationError` naming the file and the part that is malformed or not supported.
  public init(
    tokenizerJSON: some Sequence<UInt8>, configuration: TokenizerConfiguration = TokenizerConfiguration(),
    fileName: String
  ) throws {
    let definition = try TokenizerDefinition(tokenizerJSON: Array(tokenizerJSON), fileName: fileName)
    let vocabulary = try Vocabulary(definition)
    func id(_ role: String, _ token: String?) throws -> Int32? {
      guard let token else { return nil }
      if let id = vocabulary.id(of: token.utf8) { return id }
      throw TokenizationError(
        "\(fileName): the \(role) \"\(token)\" of tokenizer_config.json is not in the vocabulary.")
    }
    try self.init(
      definition, vocabulary, beginning: id("bos_token", configuration.beginningOfSequenceToken),
      end: id("eos_token", configuration.endOfSequenceToken), configuration)
  }

  /// Builds the tokenizer of a GGUF file.
  /// - Throws: `TokenizationError` naming the key that is malformed or not supported.
  public init(gguf: GGUFVocabulary, convention: GGUFConvention = .transformers, fileName: String = "GGUF") throws {
    let definition = try TokenizerDefinition(gguf: gguf, convention: convention, fileName: fileName)
    let vocabulary = try Vocabulary(definition)
    let roles = [
      ("bos_token", gguf.bosTokenID), ("eos_token", gguf.eosTokenID), ("unk_token", gguf.unknownTokenID),
      ("pad_token", gguf.paddingTokenID),
    ].compactMap { role, id -> (name: String, token: String)? in
      id.flatMap { vocabulary.spelling(of: Int32($0)) }.map { (role, $0) }
    }
    try self.init(
      definition, vocabulary, beginning: gguf.bosTokenID.map(Int32.init), end: gguf.eosTokenID.map(Int32.init),
      TokenizerConfiguration(chatTemplates: gguf.chatTemplates, specialTokenNames: roles))
  }

  private init(
    _ definition: TokenizerDefinition, _ vocabulary: Vocabulary, beginning: Int32?, end: Int32?,
    _ configuration: TokenizerConfiguration
  ) throws {
    self.definition = definition
    self.vocabulary = vocabulary
    encoder = try BytePairEncoder(definition, vocabulary)
    for case .token(let id) in definition.template where vocabulary.spelling(of: id) == nil {
      throw TokenizationError("\(definition.fileName): post_processor adds id \(id), which no token has.")
    }
    let composes = definition.composes
    let (normalized, original) = definition.addedTokens.reduce(into: ([AddedToken](), [AddedToken]())) {
      if $1.isNormalized { $0.0.append($1) } else { $0.1.append($1) }
    }
    originalMatcher = AddedTokenMatcher(original) { $0 }
    normalizedMatcher = AddedTokenMatcher(normalized) { composes ? CanonicalComposition.normalise($0) : $0 }
    specialIDs = Set(definition.addedTokens.filter(\.isSpecial).map(\.id))
    beginningOfSequenceID = beginning
    endOfSequenceID = end
    let coversASCII = definition.unknown != nil || (0x20...0x7E).allSatisfy { vocabulary.byteTokens[$0] >= 0 }
    missingBytes = coversASCII ? .drop : .refuse
    chatTemplates = configuration.chatTemplates
    specialTokenNames = configuration.specialTokenNames
  }

  /// One more than the largest id.
  public var vocabularySize: Int { vocabulary.size }

  /// The tokens that are matched in the text as they stand, in the source's order.
  public var addedTokens: [AddedToken] { definition.addedTokens }

  /// The added tokens that are special.
  public var specialTokens: [AddedToken] { definition.addedTokens.filter(\.isSpecial) }

  /// The id of a token by its spelling in the vocabulary ("Ġthe", "</think>").
  public func tokenID(of token: String) -> Int32? { vocabulary.id(of: token.utf8) }

  /// The spelling of an id in the vocabulary.
  public func token(for id: Int32) -> String? { vocabulary.spelling(of: id) }

  /// The id of a token that something cannot do without.
  /// - Parameter remedy: what the user may do; a default is given for end-of-thinking tokens.
  /// - Throws: `TokenizationError` with the nearest tokens of the vocabulary and the remedy.
  public func requireToken(_ token: String, remedy: String? = nil) throws -> Int32 {
    if let id = tokenID(of: token) { return id }
    let added = Set(definition.addedTokens.map(\.id))
    let near = vocabulary.nearest(to: token, count: 3, preferring: added).map { "\"\($0)\"" }.joined(separator: ", ")
    let remedy =
      remedy
      ?? (token == "</think>"
        ? "Configure `end_of_thinking_token` with a token this vocabulary has."
        : "Configure a token this vocabulary has.")
    throw TokenizationError(
      "\(definition.fileName): the vocabulary of \(vocabularySize) tokens has no token \"\(token)\". "
        + (near.isEmpty ? "" : "Nearest: \(near). ") + remedy)
  }

  /// The `tokenizer.json` of this tokenizer, which `transformers` and this library read back to the same ids: what a
  /// checkpoint of a GGUF model needs.
  public func tokenizerJSON() -> [UInt8] {
    TokenizerFileWriter(definition, spelling: vocabulary.spelling(of:)).tokenizerJSON()
  }

  /// The `tokenizer_config.json` that goes with it.
  public func tokenizerConfigurationJSON() -> [UInt8] {
    TokenizerConfiguration(
      beginningOfSequenceToken: beginningOfSequenceID.flatMap(token(for:)),
      endOfSequenceToken: endOfSequenceID.flatMap(token(for:)), chatTemplates: chatTemplates,
      specialTokenNames: specialTokenNames
    ).json()
  }

  /// The ids of a text.
  ///
  /// Special tokens written out in the text become those tokens, as in `tokenizers`.
  /// - Parameter addSpecialTokens: puts the source's template around the text (a beginning-of-sequence token, usually).
  /// - Throws: under `missingBytes == .refuse`, `TokenizationError` naming the first character that the vocabulary cannot
  ///   spell.
  public func encode(_ text: String, addSpecialTokens: Bool = false) throws -> [Int32] {
    let bytes = Array(text.utf8)
    guard addSpecialTokens else { return try encode(bytes) }
    var ids: [Int32] = []
    for piece in definition.template {
      switch piece {
      case .text: ids.append(contentsOf: try encode(bytes))
      case .token(let id): ids.append(id)
      }
    }
    return ids
  }

  /// The characters of a text that the vocabulary cannot spell, each once, in order; always empty when there is an
  /// unknown token.
  public func unencodableCharacters(in text: String) -> [Unicode.Scalar] {
    guard definition.unknown == nil else { return [] }
    var lost: [Unicode.Scalar] = []
    var seen = Set<Unicode.Scalar>()
    let bytes = Array(text.utf8)
    for piece in originalMatcher.pieces(of: bytes) {
      guard case .text(let range) = piece else { continue }
      let part = Array(bytes[range])
      for scalar in String(decoding: definition.composes ? CanonicalComposition.normalise(part) : part, as: UTF8.self)
        .unicodeScalars where !UTF8.encode(scalar)!.allSatisfy({ vocabulary.byteTokens[Int($0)] >= 0 })
      {
        if seen.insert(scalar).inserted { lost.append(scalar) }
      }
    }
    return lost
  }

  func encode(_ bytes: [UInt8], _ protection: Protection? = nil) throws -> [Int32] {
    var ids: [Int32] = []
    for piece in originalMatcher.pieces(of: bytes, protection) {
      switch piece {
      case .token(let id): ids.append(id)
      case .text(let range):
        let part = Array(bytes[range])
        let text = definition.composes ? CanonicalComposition.normalise(part) : part
        var inside = protection?.part(range)
        if definition.composes { inside = inside?.composed(part, text) }
        for piece in normalizedMatcher.pieces(of: text, inside) {
          switch piece {
          case .token(let id): ids.append(id)
          case .text(let range): try encodeWords(Array(text[range]), into: &ids)
          }
        }
      }
    }
    return ids
  }

  private func encodeWords(_ bytes: [UInt8], into ids: inout [Int32]) throws {
    let (text, ends) = definition.preTokenizer.words(of: bytes)
    var start = 0
    for end in ends {
      let word = text[start..<end]
      start = end
      if definition.ignoresMerges, let id = vocabulary.id(ofWord: word) {
        ids.append(id)
      } else if let offset = encoder.encode(word, into: &ids), missingBytes == .refuse {
        throw missing(in: text, at: offset)
      }
    }
  }

  private func missing(in text: [UInt8], at offset: Int) -> TokenizationError {
    var start = offset
    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
    let code = ScalarRun.scalar(in: text, at: start).code
    let hexadecimal = String(code, radix: 16, uppercase: true)
    let name = "U+" + String(repeating: "0", count: max(0, 4 - hexadecimal.count)) + hexadecimal
    let character = code < 0x20 || code == 0x7F ? "" : Unicode.Scalar(code).map { "\"\(Character($0))\" " } ?? ""
    return TokenizationError(
      "\(definition.fileName): the vocabulary has no token for the character \(character)(\(name)) and no unknown token. "
        + "Remove the character from the text or use a tokenizer that covers all bytes.")
  }
}
