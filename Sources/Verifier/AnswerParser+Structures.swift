import ExactArithmetic

extension AnswerParser {
  /// A tuple, interval, set or matrix that spans the range; a single value in parentheses is that value.
  mutating func bracketed(_ start: Int, _ end: Int) throws(Unreadable) -> AnswerReading? {
    guard let open = tokens[start].mark else { return nil }
    if isMatrixFence(open), start + 1 < end, tokens[start + 1].isMark(.beginMatrix) {
      let close = expression.partner[start + 1]
      if close > 0, close + 2 == end { return try matrix(start + 1, close) }
    }
    let close = expression.partner[start]
    guard close > start else { return nil }
    // What follows a bracket may be a note or a full stop in text, as in (8, -2) \text{.}
    guard close == end - 1 || (close < end && onlyNotes(close + 1, end)) else { return nil }
    switch open {
    case .beginMatrix: return try matrix(start, close)
    case .openSet:
      if let reading = try builtSet(start + 1, close) { return reading }
      let elements = try elements(start + 1, close)
      if elements.isEmpty { return AnswerReading(.scalar(Quotient(Atom.symbol("emptyset")))) }
      return AnswerReading(.collection(elements))
    case .openRound, .openSquare:
      guard let closing = tokens[close].mark else { return nil }
      let commas = positions(start + 1, close) { $0 == .comma || $0 == .semicolon }
      if commas.isEmpty {
        if open == .openRound, closing == .closeRound {
          if let reading = try relationInside(start + 1, close) { return reading }
          // (3): the value itself, unless more belongs to it.
          guard close == end - 1 else { return nil }
          return holdsWords(start + 1, close) ? try elements(start + 1, close).first : nil
        }
        guard open == .openSquare, closing == .closeSquare, close == end - 1 else { return nil }
        return AnswerReading(.sequence(open: open, close: closing, try elements(start + 1, close)))
      }
      return AnswerReading(.sequence(open: open, close: closing, try elements(start + 1, close, ordered: true)))
    default: return nil
    }
  }

  /// { x : 2 < x < 5 }: the interval that the condition is; nil for another set.
  private mutating func builtSet(_ start: Int, _ end: Int) throws(Unreadable) -> AnswerReading? {
    guard start + 2 < end, tokens[start].kind == .word,
      let sign = (start + 1..<end).first(where: { tokens[$0].isMark(.colon) || tokens[$0].isMark(.bar) }),
      sign == start + 1 || tokens[start + 1].isMark(.element)
    else { return nil }
    let relations = positions(sign + 1, end) { [.less, .lessEqual, .greater, .greaterEqual].contains($0) }
    guard !relations.isEmpty, let reading = try? relation(sign + 1, end, relations), reading.label == tokens[start].text
    else { return nil }
    return reading
  }

  private func isMatrixFence(_ mark: AnswerToken.Mark) -> Bool {
    [.openRound, .openSquare, .bar, .openSet].contains(mark)
  }

  private func holdsWords(_ start: Int, _ end: Int) -> Bool { (start..<end).contains { word($0) != nil } }

  private mutating func relationInside(_ start: Int, _ end: Int) throws(Unreadable) -> AnswerReading? {
    let relations = positions(start, end) { [.equal, .less, .lessEqual, .greater, .greaterEqual].contains($0) }
    return relations.isEmpty ? nil : try relation(start, end, relations)
  }

  private func onlyNotes(_ start: Int, _ end: Int) -> Bool {
    (start..<end).allSatisfy { index in
      if let word = word(index) { return !AnswerWords.changing.contains(word) }
      return tokens[index].isMark(.period) || tokens[index].isMark(.comma)
    }
  }

  /// Elements between commas; in an ordered sequence ± makes no two of one.
  private mutating func elements(_ start: Int, _ end: Int, ordered: Bool = false) throws(Unreadable) -> [AnswerReading]
  {
    var result: [AnswerReading] = []
    var from = start
    let separators = positions(start, end) { $0 == .comma || $0 == .semicolon }
    for separator in separators + [end] {
      if !ordered {
        // "and" and "or" inside a set.
        var inner = from
        for index in from..<max(from, separator) where isConjunction(index) {
          result += try element(inner, index)
          inner = index + 1
        }
        result += try element(inner, separator)
      } else {
        let found = try element(from, separator)
        guard found.count == 1 else {
          throw Unreadable(found.isEmpty ? "an element is empty" : "± stands inside a tuple")
        }
        result += found
      }
      from = separator + 1
      guard result.count <= Self.maximumElements else {
        throw Unreadable("it has more than \(Self.maximumElements) elements")
      }
    }
    return result
  }

  private mutating func matrix(_ start: Int, _ close: Int) throws(Unreadable) -> AnswerReading {
    var rows: [[AnswerReading]] = []
    var row: [AnswerReading] = []
    var from = start + 1
    let separators = positions(start + 1, close) { $0 == .ampersand || $0 == .newRow }
    var count = 0
    for separator in separators + [close] {
      let found = try element(from, separator)
      let endsRow = separator == close || tokens[separator].isMark(.newRow)
      // A row separator at the end adds no row.
      if !(found.isEmpty && endsRow && row.isEmpty) {
        guard found.count == 1 else { throw Unreadable("an entry of a matrix is no single value") }
        row += found
        count += 1
        guard count <= Self.maximumElements else {
          throw Unreadable("it has more than \(Self.maximumElements) entries")
        }
      }
      if endsRow, !row.isEmpty {
        rows.append(row)
        row = []
      }
      from = separator + 1
    }
    guard let width = rows.first?.count, rows.allSatisfy({ $0.count == width }) else {
      throw Unreadable("the rows of a matrix differ in length")
    }
    return AnswerReading(.matrix(rows))
  }

  /// Intervals joined by ∪.
  mutating func union(_ start: Int, _ end: Int, _ signs: [Int]) throws(Unreadable) -> AnswerReading {
    var parts: [Interval] = []
    var members: [AnswerReading] = []
    var from = start
    for sign in signs + [end] {
      let reading = try value(from, sign)
      if let intervals = Self.intervals(reading) {
        parts += intervals
      } else if case .collection(let elements) = reading.value {
        members += elements
      } else {
        throw Unreadable("a part of a union is no interval")
      }
      from = sign + 1
    }
    if parts.isEmpty { return AnswerReading(.collection(members)) }
    guard members.isEmpty else {
      // Single points beside intervals are closed intervals of no width.
      for member in members {
        guard case .scalar(let point) = member.value else { throw Unreadable("a part of a union is no interval") }
        parts.append(Interval(lower: point, upper: point, includesLower: true, includesUpper: true))
      }
      return AnswerReading(.intervals(parts))
    }
    return AnswerReading(.intervals(parts))
  }

  /// What a reading is as a union of intervals: `(3, 4]` is one.
  static func intervals(_ reading: AnswerReading) -> [Interval]? {
    switch reading.value {
    case .intervals(let parts): return parts
    case .sequence(let open, let close, let elements):
      guard elements.count == 2, case .scalar(let lower) = elements[0].value,
        case .scalar(let upper) = elements[1].value
      else { return nil }
      return [
        Interval(
          lower: isInfinite(lower, negative: true) ? nil : lower,
          upper: isInfinite(upper, negative: false) ? nil : upper,
          includesLower: open == .openSquare, includesUpper: close == .closeSquare)
      ]
    default: return nil
    }
  }

  private static func isInfinite(_ value: Quotient, negative: Bool) -> Bool {
    guard value.isWhole, let (monomial, coefficient) = value.numerator.singleTerm, monomial.factors.count == 1,
      monomial.factors[0].atom == .infinity
    else { return false }
    return coefficient.isNegative == negative
  }
}
