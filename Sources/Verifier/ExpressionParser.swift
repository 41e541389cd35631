import ExactArithmetic

/// Reads an expression from tokens into its exact value: recursive descent with a bounded depth.
struct ExpressionParser {
  var tokens: [AnswerToken]
  /// The index of the closing token for each opening one, and the reverse; -1 where there is none.
  let partner: [Int]
  var budget = WorkBudget()
  /// The sign that ± takes, and whether one was met.
  var sign = 1
  private(set) var hasPlusMinus = false
  /// A currency sign before a number.
  var currency: AnswerToken.Mark?
  private var depth = 0
  private static let maximumDepth = 48
  private let hasOver: Bool

  init(_ tokens: [AnswerToken]) {
    self.tokens = tokens
    partner = Self.partners(tokens)
    hasOver = tokens.contains { $0.isName("over") || $0.isName("choose") }
  }

  /// Brackets of any kinds close one another, as in (3, 4]; braces close braces alone.
  private static func partners(_ tokens: [AnswerToken]) -> [Int] {
    var result = [Int](repeating: -1, count: tokens.count)
    var open: [Int] = []
    for (index, token) in tokens.enumerated() {
      switch token.mark {
      case .openRound, .openSquare, .openBrace, .openSet, .beginMatrix: open.append(index)
      case .closeRound, .closeSquare, .closeBrace, .closeSet, .endMatrix:
        guard let last = open.last, let opening = tokens[last].mark, let closing = token.mark,
          closes(opening, closing)
        else { continue }
        open.removeLast()
        result[last] = index
        result[index] = last
      default: break
      }
    }
    return result
  }

  private static func closes(_ open: AnswerToken.Mark, _ close: AnswerToken.Mark) -> Bool {
    switch open {
    case .openRound, .openSquare: close == .closeRound || close == .closeSquare
    case .openBrace: close == .closeBrace
    case .openSet: close == .closeSet
    default: close == .endMatrix
    }
  }

  mutating func resetPlusMinus() { hasPlusMinus = false }

  // MARK: - Sums and products

  /// Reads as much of the range as is one expression; `at` ends behind it.
  mutating func sum(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw Unreadable("it is nested too deeply") }
    var isNegative = takeSign(&at, end)
    var result = try product(&at, end)
    if isNegative { result = result.negated() }
    while at < end, let mark = tokens[at].mark, [.plus, .minus, .plusMinus, .minusPlus].contains(mark) {
      // A sign with nothing behind it is punctuation.
      guard at + 1 < end, startsOperand(at + 1, end) else { break }
      isNegative = takeSign(&at, end)
      let term = try product(&at, end)
      result = try result.plus(isNegative ? term.negated() : term, &budget)
    }
    return result
  }

  /// Passes signs; whether they make what follows negative.
  mutating func takeSign(_ at: inout Int, _ end: Int) -> Bool {
    var isNegative = false
    while at < end, let mark = tokens[at].mark {
      switch mark {
      case .plus: break
      case .minus: isNegative.toggle()
      case .plusMinus, .minusPlus:
        hasPlusMinus = true
        if (sign < 0) == (mark == .plusMinus) { isNegative.toggle() }
      default: return isNegative
      }
      at += 1
    }
    return isNegative
  }

  private mutating func product(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    var result = try power(&at, end)
    while at < end {
      if tokens[at].isMark(.times) || tokens[at].isMark(.divide) {
        let isQuotient = tokens[at].isMark(.divide)
        // A slash before a word belongs to a unit.
        guard at + 1 < end, startsOperand(at + 1, end) else { break }
        at += 1
        let isNegative = takeSign(&at, end)
        var factor = try power(&at, end)
        if isNegative { factor = factor.negated() }
        result = try isQuotient ? result.divided(by: factor, &budget) : result.times(factor, &budget)
      } else if multipliesImplicitly(at, end) {
        result = try result.times(power(&at, end), &budget)
      } else {
        break
      }
    }
    return result
  }

  /// Whether what stands at `at` is a factor without a sign between: `2x`, `3\sqrt{5}`, `(a+1)(b+2)`.
  func multipliesImplicitly(_ at: Int, _ end: Int) -> Bool {
    let token = tokens[at]
    switch token.kind {
    case .number:
      // Two numbers beside one another are no product.
      guard at > 0 else { return false }
      return [.closeBrace, .closeRound, .factorial].contains(tokens[at - 1].mark)
    case .word: return isVariable(at)
    case .name:
      // A fraction of words is a unit.
      if token.text == "frac", at + 2 < end, tokens[at + 2].kind == .word, tokens[at + 2].isText,
        tokens[at + 2].text.utf8.count > 1 || UnitNames.isKnown(tokens[at + 2].text)
      {
        return false
      }
      return !["over", "choose", "rfloor", "rceil"].contains(token.text)
    case .mark(let mark): return mark == .openRound && !holdsText(at) || mark == .openBrace
    }
  }

  /// Whether a parenthesis holds words: a note, not a factor.
  private func holdsText(_ at: Int) -> Bool {
    at + 1 < tokens.count && tokens[at + 1].kind == .word && !isVariable(at + 1)
  }

  /// Whether an operand, signs before it allowed, begins at `at`.
  func startsOperand(_ at: Int, _ end: Int) -> Bool {
    var index = at
    while index < end, let mark = tokens[index].mark, [.plus, .minus, .plusMinus, .minusPlus].contains(mark) {
      index += 1
    }
    guard index < end else { return false }
    switch tokens[index].kind {
    case .number, .name: return true
    case .word: return isVariable(index)
    case .mark(let mark):
      return [.openRound, .openBrace, .openSquare, .bar, .dollars, .euros, .pounds, .yen].contains(mark)
    }
  }

  /// Whether the letters at `index` are variables rather than a word or a unit.
  func isVariable(_ index: Int) -> Bool {
    let token = tokens[index]
    guard token.kind == .word else { return false }
    let count = token.text.utf8.count
    if count == 1 {
      guard token.isText else { return true }
      // "I think", "a dozen": words, not letters.
      if ["a", "A", "I"].contains(token.text), index + 1 < tokens.count, tokens[index + 1].kind == .word,
        tokens[index + 1].isText, tokens[index + 1].text.utf8.count > 1
      {
        return false
      }
      // In prose a letter beside a number is a variable unless it is the article or a unit.
      if token.spaceBefore, index > 0, UnitNames.isKnown(token.text) || token.text == "a" { return false }
      return !(index > 0 && tokens[index - 1].isMark(.degree)) && !token.text.utf8.contains { $0 >= 0x80 }
        && !isUnitText(index)
    }
    if token.isText { return false }
    guard count == 2, !UnitNames.isKnown(token.text), !Self.shortWords.contains(token.text.lowercased()) else {
      return token.text == "xyz" || token.text == "abc"
    }
    return token.text.utf8.allSatisfy { $0 < 0x80 }
  }

  /// Whether one letter of text follows a number directly: `60\text{ m}`.
  private func isUnitText(_ index: Int) -> Bool {
    guard index > 0, UnitNames.isKnown(tokens[index].text) else { return false }
    return tokens[index - 1].number != nil || tokens[index - 1].isMark(.closeBrace) || tokens[index - 1].isName("pi")
      || tokens[index - 1].isMark(.divide) || tokens[index - 1].isMark(.closeRound)
  }

  private static let shortWords: Set<String> = [
    "or", "an", "to", "in", "is", "no", "of", "by", "at", "on", "if", "it", "as", "be", "so", "we", "am", "pm", "id",
  ]

  // MARK: - Powers and postfixes

  mutating func power(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    var base = try postfix(&at, end)
    if at < end, tokens[at].isMark(.power) {
      at += 1
      let exponent = try self.exponent(&at, end)
      base = try Powers.power(base, exponent, &budget)
      base = try self.postfixes(base, &at, end)
    }
    return base
  }

  /// The exponent behind `^`: one operand with its sign, itself raised further where another power follows.
  mutating func exponent(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw Unreadable("it is nested too deeply") }
    let isNegative = takeSign(&at, end)
    guard at < end else { throw Unreadable("a power has no exponent") }
    // x^12 raises by 12; x^ab by a alone.
    var value = try primary(&at, end)
    if at < end, tokens[at].isMark(.power) {
      at += 1
      value = try Powers.power(value, exponent(&at, end), &budget)
    }
    return isNegative ? value.negated() : value
  }

  mutating func postfix(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    let value = try primary(&at, end)
    return try postfixes(value, &at, end)
  }

  private mutating func postfixes(_ value: Quotient, _ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    var value = value
    while at < end {
      if tokens[at].isMark(.factorial) {
        value = try Powers.factorial(value)
      } else if tokens[at].isMark(.degree) {
        value = try value.times(Quotient(.degree), &budget)
      } else {
        break
      }
      at += 1
    }
    return value
  }

  // MARK: - Operands

  private mutating func primary(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    guard at < end else { throw Unreadable("an operand is missing") }
    let token = tokens[at]
    switch token.kind {
    case .number(let literal): return try number(literal, &at, end)
    case .word: return try variable(&at, end)
    case .name: return try named(token.text, &at, end)
    case .mark(let mark):
      switch mark {
      case .openRound, .openBrace, .openSquare:
        let close = partner[at]
        guard close >= 0, close < end else { throw Unreadable("a bracket is not closed") }
        let value = try group(at + 1, close)
        at = close + 1
        return value
      case .bar: return try absoluteValue(&at, end)
      case .dollars, .euros, .pounds, .yen:
        guard currency == nil || currency == mark else { throw Unreadable("it names two currencies") }
        currency = mark
        at += 1
        return try primary(&at, end)
      default: throw Unreadable("an operand is missing")
      }
    }
  }

  /// What stands between brackets: one expression to the end.
  mutating func group(_ start: Int, _ end: Int) throws(Unreadable) -> Quotient {
    guard start < end else { throw Unreadable("a bracket is empty") }
    if hasOver, let over = (start..<end).first(where: { isInfix($0, in: start) }) {
      let upper = try group(start, over)
      let lower = try group(over + 1, end)
      return try tokens[over].text == "over" ? upper.divided(by: lower, &budget) : Powers.binomial(upper, lower)
    }
    var at = start
    let value = try sum(&at, end)
    guard at == end else { throw Unreadable("\(spelling(at, end)) stands behind an expression") }
    return value
  }

  /// Whether `\over` or `\choose` stands at the level of the group that begins at `start`.
  private func isInfix(_ index: Int, in start: Int) -> Bool {
    guard tokens[index].isName("over") || tokens[index].isName("choose") else { return false }
    var at = start
    while at < index {
      if partner[at] > at { at = partner[at] }
      at += 1
    }
    return at == index
  }

  private mutating func number(_ literal: NumberLiteral, _ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    at += 1
    guard let value = literal.value else {
      if literal.digits.contains("e") { throw .tooLarge }
      return Quotient(Atom.symbol("#\(literal.digits)"))
    }
    // A fraction directly behind a whole number makes a mixed number.
    guard literal.isWhole, at < end else { return Quotient(value) }
    if let next = tokens[at].number {
      if next.isFraction, let part = next.value {
        at += 1
        return Quotient(try value.plus(part))
      }
      if next.isWhole, tokens[at].spaceBefore, at + 2 < end, tokens[at + 1].isMark(.divide),
        !tokens[at + 1].spaceBefore, let lower = tokens[at + 2].number, lower.isWhole, let upper = next.value,
        let bottom = lower.value
      {
        at += 3
        return Quotient(try value.plus(upper.divided(by: bottom)))
      }
      throw Unreadable("two numbers stand beside one another")
    }
    if tokens[at].isName("frac"), let (part, next) = try plainFraction(at, end) {
      at = next
      return Quotient(try value.plus(part))
    }
    return Quotient(value)
  }

  /// A fraction of two whole numbers, as in a mixed number.
  private mutating func plainFraction(_ at: Int, _ end: Int) throws(Unreadable) -> (ExactRational, Int)? {
    func whole(_ index: Int) -> (ExactRational, Int)? {
      guard index < end else { return nil }
      if let literal = tokens[index].number, literal.isWhole, let value = literal.value {
        return literal.digits.utf8.count == 1 && tokens[index].text.utf8.count == 1 ? (value, index + 1) : nil
      }
      guard tokens[index].isMark(.openBrace), partner[index] == index + 2, let literal = tokens[index + 1].number,
        literal.isWhole, let value = literal.value
      else { return nil }
      return (value, index + 3)
    }
    // \frac45: two digits.
    if at + 1 < end, let both = tokens[at + 1].number, both.isWhole, both.digits.utf8.count == 2,
      tokens[at + 1].text.utf8.count == 2, let value = both.value?.integer
    {
      return (try ExactRational(Int128(value / 10), over: Int128(value % 10)), at + 2)
    }
    guard let (upper, middle) = whole(at + 1), let (lower, next) = whole(middle), !lower.isZero else { return nil }
    return (try upper.divided(by: lower), next)
  }

  private mutating func variable(_ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    let token = tokens[at]
    guard isVariable(at) else { throw Unreadable("\"\(token.text)\" is a word") }
    at += 1
    var result = Quotient(.one)
    let letters = Array(token.text.unicodeScalars)
    for (index, letter) in letters.enumerated() {
      var name = String(letter)
      if index == letters.count - 1 { name += try decorations(&at, end) }
      let atom = name == "i" ? Atom.imaginaryUnit : Atom.symbol(name)
      // ab^2 is a b^2.
      var factor = Quotient(atom)
      if index == letters.count - 1, letters.count > 1, at < end, tokens[at].isMark(.power) {
        at += 1
        factor = try Powers.power(factor, exponent(&at, end), &budget)
      }
      result = try result.times(factor, &budget)
    }
    return result
  }

  /// Subscripts and primes behind a letter, as part of its name.
  private mutating func decorations(_ at: inout Int, _ end: Int) throws(Unreadable) -> String {
    var name = ""
    while at < end {
      if tokens[at].isMark(.prime) {
        name += "'"
        at += 1
      } else if tokens[at].isMark(.subscripted), at + 1 < end {
        if tokens[at + 1].isMark(.openBrace) {
          let close = partner[at + 1]
          guard close >= 0, close < end else { throw Unreadable("a bracket is not closed") }
          name += "_" + spelling(at + 2, close)
          at = close + 1
        } else {
          name += "_" + tokens[at + 1].text
          at += 2
        }
      } else {
        break
      }
    }
    return name
  }

  /// The argument of a command: a group, or one digit or letter.
  mutating func argument(_ at: inout Int, _ end: Int, wholeNumber: Bool = false) throws(Unreadable) -> Quotient {
    guard at < end else { throw Unreadable("an argument is missing") }
    // \frac34: LaTeX takes one digit.
    if !wholeNumber, let literal = tokens[at].number, literal.isWhole, tokens[at].text.utf8.count > 1,
      let first = tokens[at].text.utf8.first, isDigit(first)
    {
      let rest = Array(tokens[at].text.utf8.dropFirst())
      guard let (remainder, _) = NumberLiteral.read(rest[...], from: 0, commasGroup: false) else {
        throw Unreadable("an argument is missing")
      }
      tokens[at].kind = .number(remainder)
      tokens[at].text = String(decoding: rest, as: UTF8.self)
      return Quotient(ExactRational(Int(first - 0x30)))
    }
    if let literal = tokens[at].number, let value = literal.value {
      at += 1
      return Quotient(value)
    }
    return try primary(&at, end)
  }

  private mutating func named(_ name: String, _ at: inout Int, _ end: Int) throws(Unreadable) -> Quotient {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw Unreadable("it is nested too deeply") }
    at += 1
    switch name {
    case "frac":
      let upper = try argument(&at, end)
      return try upper.divided(by: argument(&at, end), &budget)
    case "binom":
      let upper = try argument(&at, end)
      return try Powers.binomial(upper, argument(&at, end))
    case "sqrt", "cbrt":
      var index = Quotient(ExactRational(name == "sqrt" ? 2 : 3))
      if at < end, tokens[at].isMark(.openSquare) {
        let close = partner[at]
        guard close >= 0, close < end, tokens[close].isMark(.closeSquare) else {
          throw Unreadable("a bracket is not closed")
        }
        index = try group(at + 1, close)
        at = close + 1
      }
      let radicand = try argument(&at, end, wholeNumber: true)
      return try Powers.power(radicand, Quotient(.one).divided(by: index, &budget), &budget)
    case "pi": return Quotient(Atom.symbol("π"))
    case "infty": return Quotient(.infinity)
    case "lfloor", "lceil": return try rounded(name == "lfloor", &at, end)
    case _ where AnswerNames.functions.contains(name): return try function(name, &at, end)
    case _ where AnswerNames.letters.contains(name):
      return Quotient(Atom.symbol(name + (try decorations(&at, end))))
    default: throw Unreadable("\\\(name) stands where an operand is expected")
    }
  }

  /// The tokens of a range as one text without spaces.
  func spelling(_ start: Int, _ end: Int) -> String { Self.spelling(tokens[start..<max(start, end)]) }

  static func spelling(_ tokens: ArraySlice<AnswerToken>) -> String {
    var result = ""
    for token in tokens {
      switch token.kind {
      case .number(let literal): result += literal.digits
      case .word: result += token.isText ? token.text.lowercased() : token.text
      case .name: result += "\\\(token.text) "
      case .mark(.openBrace), .mark(.closeBrace), .mark(.period): break
      case .mark(let mark): result += mark == .unknown ? "\\\(token.text) " : "\u{1}\(mark.rawValue) "
      }
    }
    return result
  }
}
