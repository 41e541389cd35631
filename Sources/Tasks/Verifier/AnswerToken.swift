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

/// A number as written.
struct NumberLiteral: Equatable {
  /// `nil` when it does not fit 128 bits.
  var value: ExactRational?
  /// Digits without leading and trailing zeros: decides equality where there is no value.
  var digits: String
  /// Neither a decimal point nor an exponent.
  var isWhole: Bool
  /// A single Unicode sign such as ½.
  var isFraction = false
}

@inline(__always)
func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

@inline(__always)
func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A }

@inline(__always)
func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }
