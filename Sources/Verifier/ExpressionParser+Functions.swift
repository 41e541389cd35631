import ExactArithmetic

/// Functions, absolute values and rounding brackets.
extension ExpressionParser {
  mutating func absoluteValue(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    var close = at + 1
    while close < end, !tokens[close].isMark(.bar) {
      if partner[close] > close { close = partner[close] }
      close += 1
    }
    guard close < end else { throw Unreadable("a bar is not closed") }
    let value = try group(at + 1, close)
    at = close + 1
    if let rational = value.rational { return Quotient(rational.isNegative ? rational.negated : rational) }
    return Quotient(Atom.symbol("|\(value.key)|"))
  }

  mutating func rounded(_ isFloor: Bool, _ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    let closing = isFloor ? "rfloor" : "rceil"
    var close = at
    while close < end, !tokens[close].isName(closing) { close += 1 }
    guard close < end else { throw Unreadable("a bracket is not closed") }
    let value = try group(at, close)
    at = close + 1
    guard let rational = value.rational else { return Quotient(Atom.symbol("\(closing)(\(value.key))")) }
    let floor = isFloor ? rational.floor : -rational.negated.floor
    return Quotient(ExactRational(integer: floor))
  }

  /// A function with its argument: `\cot x`, `\sin(2x)`, `\log_2 9`, `\sin^2 x`.
  mutating func function(_ name: String, _ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    var base: Quotient?
    var exponent: Quotient?
    while at < end {
      if tokens[at].isMark(.subscripted) {
        at += 1
        base = try argument(&at, end, wholeNumber: true)
      } else if tokens[at].isMark(.power) {
        at += 1
        exponent = try self.exponent(&at, end)
      } else {
        break
      }
    }
    guard at < end else { throw Unreadable("\(name) has no argument") }
    let isNegative = takeSign(&at, end)
    var value: Quotient
    if tokens[at..<end].first?.isMark(.openRound) == true || tokens[at..<end].first?.isMark(.openBrace) == true {
      value = try postfix(&at, end)
    } else {
      value = try power(&at, end)
      while at < end, multipliesImplicitly(at, end), !tokens[at].isMark(.openRound),
        !(tokens[at].kind == .name && AnswerNames.functions.contains(tokens[at].text))
      {
        value = try value.times(power(&at, end), &budget)
      }
    }
    if isNegative { value = value.negated() }
    var result: Quotient
    switch (name, base) {
    case ("log", let base?):
      let top = try Powers.logarithm(value, name: "ln", &budget)
      result = try top.divided(by: Powers.logarithm(base, name: "ln", &budget), &budget)
    case ("ln", nil), ("log", nil): result = try Powers.logarithm(value, name: name, &budget)
    case ("exp", nil): result = try Powers.power(Quotient(Atom.symbol("e")), value, &budget)
    default: result = Quotient(Atom.symbol("\(name)\(base.map { "_\($0.key)" } ?? "")(\(value.key))"))
    }
    if let exponent { result = try Powers.power(result, exponent, &budget) }
    return result
  }
}
