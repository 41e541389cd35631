import ExactArithmetic

extension AnswerParser {
  /// A scalar with what stands behind it: a unit, a percent sign, a base, a word of scale.
  mutating func quantity(_ start: Int, _ end: Int) throws(Unreadable) -> AnswerReading {
    if let numeral = try numeral(start, end) { return numeral }
    // "five books": a number in words.
    if let spelled = spelledQuantity(start, end) {
      return try quantityTail(spelled.value, spelled.next, end, isLiteral: true)
    }
    var at = start
    let value = try expression.sum(&at, end)
    let isLiteral = at == start + 1 || (at == start + 2 && tokens[start].isMark(.minus))
    return try quantityTail(value, at, end, isLiteral: isLiteral)
  }

  private func spelledQuantity(_ start: Int, _ end: Int) -> (value: Quotient, next: Int)? {
    guard let first = word(start), AnswerWords.isNumber(first) else { return nil }
    var words: [String] = []
    var index = start
    while index < end, let word = word(index) {
      words.append(word)
      index += 1
    }
    guard let (value, count) = AnswerWords.spelledNumber(words) else { return nil }
    return (Quotient(ExactRational(value)), start + count)
  }

  /// Digits with a base: `52_8`, `(52)_8`, `52_{\text{8}}`, `52 \text{ base } 8`.
  private func numeral(_ start: Int, _ end: Int) throws(Unreadable) -> AnswerReading? {
    var index = start
    var digits: String?
    if tokens[index].number?.isWhole == true {
      digits = tokens[index].text
      index += 1
    } else if tokens[index].isMark(.openRound) || tokens[index].isMark(.openBrace),
      expression.partner[index] == index + 2,
      tokens[index + 1].number?.isWhole == true
    {
      digits = tokens[index + 1].text
      index += 3
    }
    guard let digits, index < end else { return nil }
    // (base 8) in parentheses.
    var limit = end
    if tokens[index].isMark(.openRound), index + 1 < end, word(index + 1) == "base",
      expression.partner[index] == end - 1
    {
      index += 1
      limit = end - 1
    }
    if tokens[index].isMark(.subscripted) {
      index += 1
      if index < limit, tokens[index].isMark(.openBrace), expression.partner[index] > 0 {
        limit = min(limit, expression.partner[index])
        index += 1
      }
      while index < limit, let word = word(index), !AnswerWords.isNumber(word) { index += 1 }
    } else if word(index) == "base" || (word(index) == "in" && index + 1 < limit && word(index + 1) == "base") {
      index += word(index) == "in" ? 2 : 1
    } else {
      return nil
    }
    guard index < limit else { return nil }
    var behind = index + 1
    if behind < end, tokens[behind].isMark(.closeBrace) || tokens[behind].isMark(.closeRound) { behind += 1 }
    guard (behind..<max(behind, end)).allSatisfy({ tokens[$0].kind == .word || tokens[$0].isMark(.period) }) else {
      throw Unreadable("\"\(ExpressionParser.readable(tokens[behind..<end]))\" stands behind a numeral")
    }
    let base: Int
    if let value = tokens[index].number?.value?.integer, (2...36).contains(value) {
      base = value
    } else if let word = word(index), let (value, _) = AnswerWords.spelledNumber([word]), value >= 2 {
      base = value
    } else {
      return nil
    }
    let plain = digits.filter { $0.isNumber }.drop { $0 == "0" }
    return AnswerReading(.numeral(digits: plain.isEmpty ? "0" : String(plain), base: base))
  }

  /// Reads what stands behind a scalar, all of it.
  /// - Throws: `Unreadable` when it is neither a unit nor harmless.
  mutating func quantityTail(_ scalar: Quotient, _ start: Int, _ end: Int, isLiteral: Bool) throws(Unreadable)
    -> AnswerReading
  {
    var value = scalar
    var tail = Tail()
    try read(&tail, start, end)
    var reading = AnswerReading(.scalar(value))
    reading.isLiteral = isLiteral
    reading.isPercent = tail.isPercent
    var words = tail.words
    while let scale = words.first.flatMap({ AnswerWords.scales[$0.lowercased()] }) {
      value = try value.times(Quotient(ExactRational(scale)), &expression.budget)
      words.removeFirst()
    }
    if let part = words.first.flatMap({ AnswerWords.parts[$0.lowercased()] }), value.rational?.isInteger == true {
      value = try value.divided(by: Quotient(ExactRational(part)), &expression.budget)
      words.removeFirst()
    }
    if let power = words.first.flatMap({ AnswerWords.powers[$0.lowercased()] }) {
      value = try Powers.power(value, Quotient(ExactRational(power)), &expression.budget)
      words.removeFirst()
    }
    for word in words where AnswerWords.changing.contains(word.lowercased()) {
      // "times" alone counts something: 24 times.
      if word.lowercased() == "times", words.count == 1 { continue }
      // "9 more chairs".
      if words.count > 1, words[0] == word, ["more", "less", "fewer"].contains(word), words[1].lowercased() != "than" {
        continue
      }
      throw Unreadable("\"\(word)\" stands behind the value")
    }
    guard words.count <= 8 else { throw Unreadable("a sentence stands behind the value") }
    reading.value = .scalar(value)
    try addUnit(&reading, words, tail)
    return reading
  }

  /// The unit of a reading: from its words, a currency sign or a degree sign.
  private mutating func addUnit(_ reading: inout AnswerReading, _ words: [String], _ tail: Tail) throws(Unreadable) {
    guard case .scalar(var value) = reading.value else { return }
    if let rest = Self.withoutDegrees(value) {
      value = rest
      reading.unit = .degrees
      reading.value = .scalar(value)
      if let first = words.first, first == "C" || first == "F" || first.lowercased() == "celsius" {
        reading.unit = UnitNames.unit([first], power: 1)
      }
      return
    }
    let sign: AnswerToken.Mark? = tail.currency ?? expression.currency
    if !words.isEmpty {
      reading.unit = Self.unit(words, tail.power)
    }
    if let sign, reading.unit?.dimension == nil {
      let name =
        switch sign {
        case .cents: "cents"
        case .euros: "euros"
        case .dollars: "dollars"
        case .yen: "yen"
        default: "pounds sterling"
        }
      reading.unit = UnitNames.unit([name], power: 1)
    }
  }

  /// A rate is a unit over a unit: "dollars a day", "km/h", "hours per week".
  private static func unit(_ words: [String], _ power: Int) -> AnswerUnit {
    let rates: Set<String> = ["/", "per", "a", "an", "each", "every"]
    if let cut = words.firstIndex(where: { rates.contains($0) }), cut > 0, cut + 1 < words.count {
      let upper = UnitNames.unit(Array(words[..<cut]), power: 1)
      let lower = UnitNames.unit(Array(words[(cut + 1)...]), power: power)
      guard let top = upper.dimension, let bottom = lower.dimension,
        let factor = try? upper.factor.divided(by: lower.factor)
      else { return AnswerUnit(dimension: nil, factor: .one, name: words.joined(separator: " ")) }
      return AnswerUnit(dimension: "\(top)/\(bottom)", factor: factor, name: words.joined(separator: " "))
    }
    return UnitNames.unit(words, power: power)
  }

  /// The value without the degree sign that every term carries once.
  static func withoutDegrees(_ value: Quotient) -> Quotient? {
    guard value.isWhole, value.numerator.constant.isZero, !value.numerator.terms.isEmpty else { return nil }
    var result = Polynomial.zero
    for (monomial, coefficient) in value.numerator.terms {
      guard let index = monomial.factors.firstIndex(where: { $0.atom == .degree }),
        monomial.factors[index].exponent == .one
      else { return nil }
      var rest = monomial
      rest.factors.remove(at: index)
      if rest.factors.isEmpty { result.constant = coefficient } else { result.terms[rest] = coefficient }
    }
    return Quotient(result)
  }

  /// What was read behind a scalar.
  struct Tail {
    var words: [String] = []
    var power = 1
    var isPercent = false
    var currency: AnswerToken.Mark?
  }

  /// The two words of a fraction of units.
  private func unitFraction(_ index: Int, _ end: Int) -> (String, String)? {
    guard index + 6 < end, tokens[index + 1].isMark(.openBrace), expression.partner[index + 1] == index + 3,
      tokens[index + 4].isMark(.openBrace), expression.partner[index + 4] == index + 6,
      tokens[index + 2].kind == .word, tokens[index + 5].kind == .word, tokens[index + 2].isText
    else { return nil }
    return (tokens[index + 2].text, tokens[index + 5].text)
  }

  private mutating func read(_ tail: inout Tail, _ start: Int, _ end: Int) throws(Unreadable) {
    var index = start
    while index < end {
      let token = tokens[index]
      switch token.kind {
      case .word:
        let word = token.text.lowercased()
        if word == "percent" || word == "pct" { tail.isPercent = true } else { tail.words.append(token.text) }
      case .mark(.percent): tail.isPercent = true
      case .mark(.dollars), .mark(.cents), .mark(.euros), .mark(.pounds), .mark(.yen): tail.currency = token.mark
      case .mark(.degree): tail.words.append("degrees")
      case .mark(.divide): tail.words.append("/")
      case .mark(.openRound), .mark(.openBrace), .mark(.openSquare):
        let close = expression.partner[index]
        guard close > index, close < end else { throw Unreadable("a bracket is not closed") }
        // A note in parentheses.
        var note = Tail()
        if index + 1 < close,
          word(index + 1) != nil || tokens[index + 1].kind == .word || tokens[index + 1].isMark(.percent)
        {
          try read(&note, index + 1, close)
          if tail.words.isEmpty { tail.words = note.words }
          tail.isPercent = tail.isPercent || note.isPercent
        } else {
          throw Unreadable("\(expression.spelling(index, close)) stands behind the value")
        }
        index = close
      case .mark(.power):
        // The power of a unit: \text{cm}^2, \text{in}^{2}.
        var at = index + 1
        if at < end, tokens[at].isMark(.openBrace) { at += 1 }
        guard !tail.words.isEmpty, at < end, let power = tokens[at].number?.value?.integer, (1...4).contains(power)
        else {
          throw Unreadable("a power stands behind the value")
        }
        tail.power = power
        if at + 1 < end, tokens[at + 1].isMark(.closeBrace), tokens[index + 1].isMark(.openBrace) { at += 1 }
        index = at
      case .name where token.text == "frac" && unitFraction(index, end) != nil:
        // \frac{\text{km}}{\text{h}}
        guard let (upper, lower) = unitFraction(index, end) else { break }
        tail.words += [upper, "/", lower]
        index += 6
      case .mark(.times) where !tail.words.isEmpty: tail.words.append("/")
      case .mark(.period), .mark(.comma), .mark(.prime), .mark(.colon): break
      case .mark(.ellipsis): throw Unreadable("an ellipsis stands behind the value")
      case .number, .name, .mark:
        throw Unreadable(
          "\"\(ExpressionParser.readable(tokens[index..<min(end, index + 4)]))\" stands behind the value")
      }
      index += 1
    }
  }
}
