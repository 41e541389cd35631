import ExactArithmetic

/// The value of an answer.
indirect enum AnswerValue {
  case scalar(Quotient)
  /// Elements in order between brackets.
  case sequence(open: AnswerToken.Mark, close: AnswerToken.Mark, [AnswerReading])
  /// A set or a bare list: elements in any order.
  case collection([AnswerReading])
  case matrix([[AnswerReading]])
  /// A union of intervals.
  case intervals([Interval])
  case ratio([Quotient])
  case numeral(digits: String, base: Int)
  /// A relation that is neither an equation nor an interval, by its canonical spelling.
  case relation(String)
  case word(String)
}

/// An interval of numbers; `nil` bounds are infinite.
struct Interval {
  var lower: Quotient?
  var upper: Quotient?
  var includesLower: Bool
  var includesUpper: Bool

  var key: String {
    (includesLower ? "[" : "(") + (lower?.key ?? "-∞") + ";" + (upper?.key ?? "∞") + (includesUpper ? "]" : ")")
  }
}

/// An answer as it is understood.
struct AnswerReading {
  var value: AnswerValue
  var unit: AnswerUnit?
  var isPercent = false
  /// A single number as written, not an expression.
  var isLiteral = false
  /// The left-hand side of `x = 5` or the variable of an inequality.
  var label: String?
  /// `left - right` of an equation, scaled to a first coefficient of one.
  var equation: Polynomial?

  init(_ value: AnswerValue) { self.value = value }
}

extension AnswerReading {
  /// For explanations: what was read, in plain signs.
  var text: String {
    let percent = isPercent ? "%" : ""
    let suffix = unit.map { " [\($0.name)]" } ?? ""
    return (label.map { "\($0) = " } ?? "") + value.text + percent + suffix
  }
}

extension AnswerValue {
  /// What kind of value this is.
  var kind: String {
    switch self {
    case .scalar(let value): value.rational != nil ? "number" : "expression"
    case .sequence: "tuple or interval"
    case .collection: "set or list"
    case .matrix: "matrix"
    case .intervals: "interval"
    case .ratio: "ratio"
    case .numeral: "numeral in a base"
    case .relation: "relation"
    case .word: "word"
    }
  }

  var text: String {
    switch self {
    case .scalar(let value): value.key
    case .sequence(let open, let close, let elements):
      (open == .openRound ? "(" : "[") + elements.map(\.text).joined(separator: ", ")
        + (close == .closeRound ? ")" : "]")
    case .collection(let elements): "{" + elements.map(\.text).joined(separator: ", ") + "}"
    case .matrix(let rows):
      "[" + rows.map { $0.map(\.text).joined(separator: ", ") }.joined(separator: "; ") + "]"
    case .intervals(let parts): parts.map(\.key).joined(separator: " ∪ ")
    case .ratio(let parts): parts.map(\.key).joined(separator: ":")
    case .numeral(let digits, let base): "\(digits) in base \(base)"
    case .relation(let spelling): spelling
    case .word(let word): word
    }
  }
}
