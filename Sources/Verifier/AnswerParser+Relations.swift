import ExactArithmetic

extension AnswerParser {
  /// An equation, an approximation, an inequality or a membership.
  mutating func relation(_ start: Int, _ end: Int, _ signs: [Int]) throws(Unreadable) -> AnswerReading {
    let marks = signs.compactMap { tokens[$0].mark }
    // 3\sqrt{13} \approx 10.82: what is exact stands before; x \approx 10.82 has a name there.
    if let index = marks.firstIndex(of: .approximately) {
      let sign = signs[index]
      if sign == start { return try value(start + 1, end) }
      if !isName(start, sign) { return try single(before: sign, from: start) }
      if marks.count == 1 { return try labelled(start, sign, end) }
    }
    if marks.allSatisfy({ $0 == .equal || $0 == .arrow || $0 == .approximately || $0 == .element }),
      let last = signs.last
    {
      let previous = signs.count > 1 ? signs[signs.count - 2] + 1 : start
      // "5 = x": the value stands before the name.
      if last + 1 < end, tokens[last].isMark(.equal), isName(last + 1, end), !isName(previous, last),
        previous < last
      {
        return try value(previous, last)
      }
      return try labelled(start, last, end)
    }
    if let interval = try interval(start, end, signs) { return interval }
    return try plainRelation(start, end, signs)
  }

  private mutating func single(before sign: Int, from start: Int) throws(Unreadable) -> AnswerReading {
    let inner = positions(start, sign) { $0 == .equal || $0 == .arrow }
    return inner.isEmpty ? try value(start, sign) : try relation(start, sign, inner)
  }

  /// Whether a range is one name: a letter with its decorations, or words.
  private func isName(_ start: Int, _ end: Int) -> Bool {
    guard start < end, tokens[start].kind == .word, !(tokens[start].text == "i" || tokens[start].text == "e") else {
      return false
    }
    if end - start == 1 { return true }
    return tokens[start + 1].isMark(.subscripted) || (start..<end).allSatisfy { tokens[$0].kind == .word }
  }

  /// `left = right`: the value is that of the right-hand side; the equation as a whole is kept where letters occur in it.
  private mutating func labelled(_ start: Int, _ sign: Int, _ end: Int) throws(Unreadable) -> AnswerReading {
    var reading: AnswerReading
    do {
      let found = try rightHandSide(sign + 1, end)
      reading = found
    } catch {
      // 2x + 3 = y \text{...}: an equation can be read even where its right-hand side is no answer.
      guard tokens[sign].isMark(.equal), let equation = try? equation(start, sign, end) else { throw error }
      reading = AnswerReading(.relation(equation.key))
      reading.equation = equation
      return reading
    }
    let left = positions(start, sign) { $0 == .equal }.last.map { $0 + 1 } ?? start
    if reading.label == nil { reading.label = ExpressionParser.readable(tokens[left..<sign]) }
    if tokens[sign].isMark(.equal), left == start, let equation = try? equation(start, sign, end),
      equation.symbols.contains(where: Self.isVariableName)
    {
      reading.equation = equation
    }
    return reading
  }

  private mutating func rightHandSide(_ start: Int, _ end: Int) throws(Unreadable) -> AnswerReading {
    // x = 3 \pm 2: both signs are read by the caller, which sees the sign.
    try value(start, end)
  }

  static func isVariableName(_ name: String) -> Bool {
    guard let first = name.unicodeScalars.first, name != "e", name != "π", name != "°", name != "∞" else {
      return false
    }
    return first.properties.isAlphabetic && !name.contains("(")
  }

  /// `left - right`, scaled so that the coefficient of its first monomial is one.
  private mutating func equation(_ start: Int, _ sign: Int, _ end: Int) throws(Unreadable) -> Polynomial {
    let left = try expression.group(start, sign)
    let right = try expression.group(sign + 1, end)
    let difference = try left.plus(right.negated(), &expression.budget)
    return try Self.scaled(difference.numerator)
  }

  static func scaled(_ polynomial: Polynomial) throws(Unreadable) -> Polynomial {
    guard let first = polynomial.terms.min(by: { $0.key.key < $1.key.key }) else { return polynomial }
    return try polynomial.scaled(by: ExactRational.one.divided(by: first.value))
  }

  // MARK: - Inequalities

  /// `3 < x \le 4`, `x \ge 5`, `7 \le x`, `|x| < 8` as intervals; `nil` when it is none.
  private mutating func interval(_ start: Int, _ end: Int, _ signs: [Int]) throws(Unreadable) -> AnswerReading? {
    guard signs.count <= 2, signs.allSatisfy({ Self.direction(tokens[$0].mark) != nil }) else { return nil }
    var parts: [Range<Int>] = []
    var from = start
    for sign in signs + [end] {
      parts.append(from..<sign)
      from = sign + 1
    }
    if signs.count == 1, parts[0].isEmpty {
      // \ge 11: an inequality whose variable is not named.
      let bound = try expression.group(parts[1].lowerBound, parts[1].upperBound)
      return Self.halfLine(tokens[signs[0]].mark, bound, label: nil)
    }
    let names = parts.map { isVariablePart($0) }
    if signs.count == 1 {
      if let magnitude = try absoluteValue(parts, signs[0]) { return magnitude }
      guard names[0] != names[1] else { return nil }
      let bound = try? expression.group(parts[names[0] ? 1 : 0].lowerBound, parts[names[0] ? 1 : 0].upperBound)
      guard let bound else { return nil }
      let mark = names[0] ? tokens[signs[0]].mark : Self.reversed(tokens[signs[0]].mark)
      return Self.halfLine(
        mark, bound, label: ExpressionParser.readable(tokens[parts[names[0] ? 0 : 1]]))
    }
    guard names == [false, true, false], let first = Self.direction(tokens[signs[0]].mark),
      let second = Self.direction(tokens[signs[1]].mark), first.isLess == second.isLess
    else { return nil }
    let left = try expression.group(parts[0].lowerBound, parts[0].upperBound)
    let right = try expression.group(parts[2].lowerBound, parts[2].upperBound)
    let interval =
      first.isLess
      ? Interval(lower: left, upper: right, includesLower: first.isInclusive, includesUpper: second.isInclusive)
      : Interval(lower: right, upper: left, includesLower: second.isInclusive, includesUpper: first.isInclusive)
    var reading = AnswerReading(.intervals([Self.withoutInfinity(interval)]))
    reading.label = ExpressionParser.readable(tokens[parts[1]])
    return reading
  }

  /// Inequalities of one variable: "and" intersects a lower and an upper bound, "or" unites; `nil` for anything else.
  func combinedInequalities(_ elements: [AnswerReading], _ start: Int, _ end: Int) -> AnswerReading? {
    let words = (start..<end).filter { isConjunction($0) }.map { tokens[$0].text.lowercased() }
    guard elements.count == 2, words.count == 1, let label = elements[0].label, elements[1].label == label,
      case .intervals(let first) = elements[0].value, case .intervals(let second) = elements[1].value,
      positions(start, end, { $0 == .comma || $0 == .semicolon }).isEmpty
    else { return nil }
    var reading = AnswerReading(.intervals(first + second))
    reading.label = label
    guard words[0] == "and" else { return reading }
    guard first.count == 1, second.count == 1 else { return nil }
    let (left, right) = first[0].upper == nil ? (first[0], second[0]) : (second[0], first[0])
    guard left.lower != nil, left.upper == nil, right.lower == nil, right.upper != nil else { return nil }
    reading.value = .intervals([
      Interval(
        lower: left.lower, upper: right.upper, includesLower: left.includesLower, includesUpper: right.includesUpper)
    ])
    return reading
  }

  private static func withoutInfinity(_ interval: Interval) -> Interval {
    var result = interval
    if interval.lower?.symbols.contains("∞") == true { result.lower = nil }
    if interval.upper?.symbols.contains("∞") == true { result.upper = nil }
    return result
  }

  private func isVariablePart(_ part: Range<Int>) -> Bool {
    guard let first = part.first, tokens[first].kind == .word || tokens[first].kind == .name else { return false }
    if tokens[first].kind == .name { return part.count == 1 && AnswerNames.letters.contains(tokens[first].text) }
    return part.count == 1 || tokens[first + 1].isMark(.subscripted)
      || (part.count == 4 && tokens[first + 1].isMark(.openRound))
  }

  private mutating func absoluteValue(_ parts: [Range<Int>], _ sign: Int) throws(Unreadable) -> AnswerReading? {
    let part = parts[0]
    guard part.count == 3, tokens[part.lowerBound].isMark(.bar), tokens[part.upperBound - 1].isMark(.bar),
      isVariablePart(part.lowerBound + 1..<part.upperBound - 1),
      let (isLess, isInclusive) = Self.direction(tokens[sign].mark)
    else { return nil }
    let bound = try expression.group(parts[1].lowerBound, parts[1].upperBound)
    var reading: AnswerReading
    if isLess {
      reading = AnswerReading(
        .intervals([
          Interval(lower: bound.negated(), upper: bound, includesLower: isInclusive, includesUpper: isInclusive)
        ]))
    } else {
      reading = AnswerReading(
        .intervals([
          Interval(lower: nil, upper: bound.negated(), includesLower: false, includesUpper: isInclusive),
          Interval(lower: bound, upper: nil, includesLower: isInclusive, includesUpper: false),
        ]))
    }
    reading.label = ExpressionParser.readable(tokens[(part.lowerBound + 1)..<(part.upperBound - 1)])
    return reading
  }

  private static func halfLine(_ mark: AnswerToken.Mark?, _ bound: Quotient, label: String?) -> AnswerReading? {
    guard let (isLess, isInclusive) = direction(mark) else { return nil }
    var reading = AnswerReading(
      .intervals([
        isLess
          ? Interval(lower: nil, upper: bound, includesLower: false, includesUpper: isInclusive)
          : Interval(lower: bound, upper: nil, includesLower: isInclusive, includesUpper: false)
      ]))
    reading.label = label
    return reading
  }

  private static func direction(_ mark: AnswerToken.Mark?) -> (isLess: Bool, isInclusive: Bool)? {
    switch mark {
    case .less: (true, false)
    case .lessEqual: (true, true)
    case .greater: (false, false)
    case .greaterEqual: (false, true)
    default: nil
    }
  }

  private static func reversed(_ mark: AnswerToken.Mark?) -> AnswerToken.Mark? {
    switch mark {
    case .less: .greater
    case .lessEqual: .greaterEqual
    case .greater: .less
    case .greaterEqual: .lessEqual
    default: mark
    }
  }

  /// Any other relation: `left - right` with its sign where both sides are expressions, otherwise its spelling.
  private mutating func plainRelation(_ start: Int, _ end: Int, _ signs: [Int]) throws(Unreadable) -> AnswerReading {
    if signs.count == 1, let mark = tokens[signs[0]].mark, signs[0] > start,
      let left = try? expression.group(start, signs[0]), let right = try? expression.group(signs[0] + 1, end)
    {
      let isGreater = mark == .greater || mark == .greaterEqual
      let difference = try (isGreater ? right : left).plus((isGreater ? left : right).negated(), &expression.budget)
      if difference.isWhole, let first = difference.numerator.terms.min(by: { $0.key.key < $1.key.key }) {
        var factor = try ExactRational.one.divided(by: first.value)
        // An inequality keeps its direction: only a positive factor divides it.
        if mark != .notEqual, factor.isNegative { factor = factor.negated }
        let scaled = try difference.numerator.scaled(by: factor)
        let sign = mark == .notEqual ? "≠" : mark == .less || mark == .greater ? "<" : "≤"
        return AnswerReading(.relation("\(scaled.key) \(sign) 0"))
      }
    }
    return AnswerReading(.relation(ExpressionParser.readable(tokens[start..<end])))
  }
}

extension ExpressionParser {
  /// Tokens as a text for people.
  static func readable(_ tokens: ArraySlice<AnswerToken>) -> String {
    var result = ""
    for token in tokens {
      if token.spaceBefore, !result.isEmpty { result += " " }
      switch token.kind {
      case .number, .word: result += token.text
      case .name: result += "\\\(token.text) "
      case .mark(let mark): result += sign(mark) ?? "\\\(token.text)"
      }
    }
    return result
  }

  private static func sign(_ mark: AnswerToken.Mark) -> String? {
    switch mark {
    case .plus: "+"
    case .minus: "-"
    case .plusMinus: "±"
    case .minusPlus: "∓"
    case .times: "*"
    case .divide: "/"
    case .power: "^"
    case .subscripted: "_"
    case .factorial: "!"
    case .percent: "%"
    case .degree: "°"
    case .prime: "'"
    case .openRound: "("
    case .closeRound: ")"
    case .openSquare: "["
    case .closeSquare: "]"
    case .openBrace: "{"
    case .closeBrace: "}"
    case .openSet: "\\{"
    case .closeSet: "\\}"
    case .bar: "|"
    case .comma: ","
    case .semicolon: ";"
    case .colon: ":"
    case .period: "."
    case .question: "?"
    case .ellipsis: "..."
    case .ampersand: "&"
    case .newRow: "\\\\"
    case .equal: "="
    case .approximately: "≈"
    case .less: "<"
    case .lessEqual: "≤"
    case .greater: ">"
    case .greaterEqual: "≥"
    case .notEqual: "≠"
    case .element: "∈"
    case .union: "∪"
    case .intersection: "∩"
    case .without: "\\"
    case .beginMatrix: "\\begin{matrix}"
    case .endMatrix: "\\end{matrix}"
    case .dollars: "$"
    case .cents: "¢"
    case .euros: "€"
    case .pounds: "£"
    case .yen: "¥"
    case .arrow: "→"
    case .overline: "\\overline"
    case .unknown: nil
    }
  }
}
