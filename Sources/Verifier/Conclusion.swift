import ExactArithmetic

/// The answer that a completion comes to.
struct Conclusion {
  /// The text it was taken from.
  var text: String
  var source: AnswerExtraction.Source
  /// `nil` when it cannot be read; `fault` says why.
  var reading: AnswerReading?
  var fault: String?

  /// One answer in mathematics: a box, a reference.
  static func reading(_ text: ArraySlice<UInt8>) -> Result<AnswerReading, Unreadable> {
    let tokens = AnswerLexer.tokens(text, .mathematics).tokens
    do {
      return .success(try read(tokens, isSentence: false))
    } catch {
      return .failure(error)
    }
  }

  /// Reads tokens; what the parser does not know but is well formed is kept by its spelling.
  static func read(_ tokens: [AnswerToken], isSentence: Bool) throws(Unreadable) -> AnswerReading {
    do {
      return try AnswerParser.read(tokens, isSentence: isSentence)
    } catch {
      guard !isSentence, tokens.contains(where: { isUnfamiliar($0) }), isBalanced(tokens) else { throw error }
      return AnswerReading(.relation(ExpressionParser.spelling(tokens[...])))
    }
  }

  /// What makes an answer comparable by its spelling alone: \sum, \mathbb{R} \setminus \{0\}.
  private static func isUnfamiliar(_ token: AnswerToken) -> Bool {
    switch token.mark {
    case .unknown, .intersection, .without, .arrow, .element, .overline: true
    default: false
    }
  }

  private static func isBalanced(_ tokens: [AnswerToken]) -> Bool {
    var level = 0
    for token in tokens {
      switch token.mark {
      case .openRound, .openSquare, .openBrace, .openSet, .beginMatrix: level += 1
      case .closeRound, .closeSquare, .closeBrace, .closeSet, .endMatrix: level -= 1
      case .question, .ellipsis: return false
      default: break
      }
      if level < 0 { return false }
    }
    return level == 0
  }
}
