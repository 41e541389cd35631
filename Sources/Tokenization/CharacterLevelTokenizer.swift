/// Tokenizers whose tokens are single characters.
public enum CharacterLevelTokenizer {
  /// The `tokenizer.json` of a tokenizer whose tokens are single characters: special tokens first, from id 0, then the
  /// characters, in the order given. It is byte-level BPE without merges, which `transformers` loads as
  /// `PreTrainedTokenizerFast`.
  /// - Parameters:
  ///   - characters: ASCII, each once.
  ///   - specialTokens: matched whole in text; each once.
  /// - Throws: `TokenizationError` for a character outside ASCII or a token listed twice.
  public static func tokenizerJSON(characters: [Character], specialTokens: [String]) throws -> [UInt8] {
    var vocabulary: [(content: [UInt8], id: Int32)] = specialTokens.enumerated().map { (Array($1.utf8), Int32($0)) }
    for character in characters {
      guard character.utf8.count == 1, let byte = character.utf8.first else {
        throw TokenizationError(
          "character-level tokenizer: \"\(character)\" is not one ASCII character. Use characters below U+0080.")
      }
      vocabulary.append((ByteAlphabet.spelling(of: [byte]), Int32(vocabulary.count)))
    }
    let added = specialTokens.enumerated().map { AddedToken(id: Int32($0), content: $1) }
    let definition = TokenizerDefinition(
      vocabulary: vocabulary, merges: [], addedTokens: added, preTokenizer: PreTokenizer(steps: [.words(.gpt2)]),
      fileName: "character-level tokenizer")
    _ = try Vocabulary(definition)
    return TokenizerFileWriter(definition) { _ in nil }.tokenizerJSON()
  }
}
