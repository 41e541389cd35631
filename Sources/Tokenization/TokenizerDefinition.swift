/// Everything that defines a byte-level tokenizer, whatever file it came from.
struct TokenizerDefinition: Sendable {
  /// Ids are below this: a damaged file must not make us allocate without bound.
  static let idLimit: Int32 = 1 << 24

  enum TemplatePiece: Sendable, Equatable {
    case text
    case token(Int32)
  }

  /// Tokens in the byte alphabet's spelling, as UTF-8, with their ids.
  var vocabulary: [(content: [UInt8], id: Int32)]
  /// The pairs to join, the preferred first.
  var merges: [(left: [UInt8], right: [UInt8])]
  var addedTokens: [AddedToken]
  /// Whether text is put into normalisation form C first.
  var composes = false
  var preTokenizer: PreTokenizer
  /// What `addSpecialTokens` puts around a text.
  var template: [TemplatePiece] = [.text]
  /// The token for bytes that have none.
  var unknown: [UInt8]?
  /// Whether neighbouring unknown bytes become one token.
  var fusesUnknown = false
  /// Whether a word that is a token is taken whole, whatever the merges say.
  var ignoresMerges = false
  /// What errors call the source.
  var fileName: String
}
