import ExactArithmetic

/// A piece of an answer: what the lexer makes of LaTeX, Unicode and plain text alike.
struct AnswerToken: Equatable {
  enum Kind: Equatable {
    case number(NumberLiteral)
    /// Letters that are no known name: a variable, a unit or a word.
    case word
    /// A name with a meaning: `frac`, `sqrt`, `pi`, `sin`.
    case name
    case mark(Mark)
  }

  enum Mark: UInt8, Equatable {
    case plus, minus, plusMinus, minusPlus, times, divide, power, subscripted, factorial, percent, degree, prime
    case openRound, closeRound, openSquare, closeSquare, openBrace, closeBrace, openSet, closeSet, bar
    case comma, semicolon, colon, period, question, ellipsis, ampersand, newRow
    case equal, approximately, less, lessEqual, greater, greaterEqual, notEqual, element, union, intersection, without
    case beginMatrix, endMatrix, dollars, cents, euros, pounds, yen, arrow, overline, unknown
  }

  var kind: Kind
  /// Letters as written; a name without its backslash; digits as written.
  var text: String
  /// Whether white space stood before it.
  var spaceBefore: Bool
  /// Whether it stood in `\text{}` or in a sentence, outside mathematics.
  var isText: Bool

  var mark: Mark? { if case .mark(let mark) = kind { mark } else { nil } }
  var number: NumberLiteral? { if case .number(let number) = kind { number } else { nil } }
  func isMark(_ mark: Mark) -> Bool { kind == .mark(mark) }
  func isName(_ name: String) -> Bool { kind == .name && text == name }
}
