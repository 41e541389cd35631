import ExactArithmetic

/// Decides whether two readings are the same answer. Symmetric.
struct AnswerComparison {
  private var budget = WorkBudget()
  /// Comparisons of elements that have no canonical key.
  private var comparisons = 4096
  private(set) var reason = ""

  /// - Throws: `Unreadable` when the comparison takes too long or does not fit.
  mutating func areEqual(_ a: AnswerReading, _ b: AnswerReading) throws(Unreadable) -> Bool {
    comparisons -= 1
    guard comparisons >= 0 else { throw .tooLong }
    if let first = a.equation, let second = b.equation {
      if first == second { return true }
      return a.label == b.label && a.label != nil ? try haveEqualValues(a, b) : differ("the equations differ")
    }
    if let first = a.label, let second = b.label, first != second, first.utf8.count == 1, second.utf8.count == 1 {
      return differ("one names \(first), the other \(second)")
    }
    return try haveEqualValues(a, b)
  }

  private mutating func differ(_ why: String) -> Bool {
    reason = why
    return false
  }

  private mutating func haveEqualValues(_ a: AnswerReading, _ b: AnswerReading) throws(Unreadable) -> Bool {
    switch (a.value, b.value) {
    case (.collection(let elements), _) where elements.count == 1: return try areEqual(elements[0], b)
    case (_, .collection(let elements)) where elements.count == 1: return try areEqual(a, elements[0])
    case (.scalar(let first), .scalar(let second)): return try quantities(a, first, b, second)
    case (.collection(let first), .collection(let second)): return try collections(first, second)
    case (.sequence(let open, let close, let first), .sequence(let otherOpen, let otherClose, let second)):
      guard open == otherOpen, close == otherClose else { return differ("the brackets differ") }
      return try inOrder(first, second)
    case (.matrix(let first), .matrix(let second)):
      guard first.count == second.count, first[0].count == second[0].count else { return differ("the shapes differ") }
      return try inOrder(first.flatMap(\.self), second.flatMap(\.self))
    case (.matrix(let rows), .sequence(.openRound, .closeRound, let elements)),
      (.sequence(.openRound, .closeRound, let elements), .matrix(let rows)):
      guard rows.count == 1 || rows[0].count == 1 else { return differ("a matrix is no tuple") }
      return try inOrder(rows.flatMap(\.self), elements)
    case (.intervals, _), (_, .intervals):
      guard let first = AnswerParser.intervals(a), let second = AnswerParser.intervals(b) else {
        return differ("one is an interval, the other a \((isIntervals(a) ? b : a).value.kind)")
      }
      let isSame = first.map(\.key).sorted() == second.map(\.key).sorted()
      return isSame ? true : differ("the intervals differ")
    case (.ratio(let first), .ratio(let second)):
      if let first = a.unit, let second = b.unit, first.dimension != second.dimension {
        return differ("one is \(first.name), the other \(second.name)")
      }
      return try ratios(first, second)
    case (.ratio(let parts), .scalar(let value)), (.scalar(let value), .ratio(let parts)):
      guard parts.count == 2, !parts[1].isZero else { return differ("a ratio is no number") }
      return try parts[0].divided(by: parts[1], &budget).equals(value, &budget) ? true : differ("the ratio differs")
    case (.numeral(let digits, let base), .numeral(let otherDigits, let otherBase)):
      return digits == otherDigits && base == otherBase ? true : differ("the digits or the bases differ")
    case (.relation(let first), .relation(let second)):
      return first == second ? true : differ("the relations differ")
    case (.word(let first), .word(let second)): return first == second ? true : differ("the words differ")
    case (.word(let word), .scalar(let value)), (.scalar(let value), .word(let word)):
      if value.key == "emptyset" { return word == AnswerParser.noSolution ? true : differ("a set is no word") }
      // The letter of a choice.
      return value.key.lowercased() == word && word.utf8.count == 1 ? true : differ("a word is no value")
    default: return differ("one is a \(a.value.kind), the other a \(b.value.kind)")
    }
  }

  private func isIntervals(_ reading: AnswerReading) -> Bool {
    if case .intervals = reading.value { true } else { false }
  }

  // MARK: - Quantities

  private mutating func quantities(_ a: AnswerReading, _ first: Quotient, _ b: AnswerReading, _ second: Quotient)
    throws(Unreadable) -> Bool
  {
    if let unit = a.unit?.dimension, let other = b.unit?.dimension, let left = a.unit, let right = b.unit {
      guard unit == other else { return differ("the units differ: \(left.name) and \(right.name)") }
      if left.factor != right.factor {
        let scaled = try first.times(Quotient(left.factor), &budget)
        let isSame = try scaled.equals(second.times(Quotient(right.factor), &budget), &budget)
        return isSame ? true : differ("the values differ: one is in \(left.name), the other in \(right.name)")
      }
    }
    let isSame = try first.equals(second, &budget)
    guard a.isPercent != b.isPercent else { return isSame ? true : differ("the values differ") }
    // 50% is 1/2; it is 50 as well where 50 can be the number of hundredths that was asked for.
    let (percent, plain, reading) = a.isPercent ? (first, second, b) : (second, first, a)
    if isSame, reading.isLiteral, let value = plain.rational, value.isInteger || value.numerator > value.denominator {
      return true
    }
    let hundredth = try percent.times(Quotient(ExactRational(1, over: 100)), &budget)
    return try hundredth.equals(plain, &budget) ? true : differ("the values differ, as hundredths and as a number")
  }

  private mutating func ratios(_ first: [Quotient], _ second: [Quotient]) throws(Unreadable) -> Bool {
    guard first.count == second.count else { return differ("the ratios differ in length") }
    for index in first.indices.dropFirst() {
      let left = try first[0].times(second[index], &budget)
      guard try left.equals(second[0].times(first[index], &budget), &budget) else { return differ("the ratios differ") }
    }
    return first[0].isZero == second[0].isZero ? true : differ("the ratios differ")
  }

  // MARK: - Elements

  private mutating func inOrder(_ first: [AnswerReading], _ second: [AnswerReading]) throws(Unreadable) -> Bool {
    guard first.count == second.count else {
      return differ("there are \(first.count) elements in one and \(second.count) in the other")
    }
    for (a, b) in zip(first, second) {
      guard try areEqual(a, b) else { return differ("the elements \(a.text) and \(b.text) differ") }
    }
    return true
  }

  /// Elements in any order. Canonical keys are sorted, so that nothing is compared with everything; elements without such
  /// a key are matched one by one within a bound.
  private mutating func collections(_ first: [AnswerReading], _ second: [AnswerReading]) throws(Unreadable) -> Bool {
    guard first.count == second.count else {
      return differ("there are \(first.count) elements in one and \(second.count) in the other")
    }
    let keys = first.map(\.canonicalKey)
    let others = second.map(\.canonicalKey)
    if !keys.contains(nil), !others.contains(nil) {
      return keys.compactMap(\.self).sorted() == others.compactMap(\.self).sorted()
        ? true : differ("the elements differ")
    }
    var rest = second
    for element in first {
      var match: Int?
      for (index, candidate) in rest.enumerated() where try areEqual(element, candidate) {
        match = index
        break
      }
      guard let match else { return differ("\(element.text) has no counterpart") }
      rest.remove(at: match)
    }
    return true
  }
}

extension AnswerReading {
  /// The same text for equal readings and for no others; `nil` where a reading has no such text.
  var canonicalKey: String? {
    guard unit == nil, !isPercent, equation == nil || label != nil else { return nil }
    switch value {
    case .scalar(let scalar): return scalar.isWhole ? "n" + scalar.key : nil
    case .word(let word): return word.utf8.count > 1 ? "w" + word : nil
    case .numeral(let digits, let base): return "b\(digits)_\(base)"
    case .relation(let spelling): return "r" + spelling
    case .collection(let elements):
      let keys = elements.map(\.canonicalKey)
      guard !keys.contains(nil), elements.count != 1 else { return nil }
      return "{" + keys.compactMap(\.self).sorted().joined(separator: ",") + "}"
    case .sequence(let open, let close, let elements):
      let keys = elements.map(\.canonicalKey)
      guard !keys.contains(nil) else { return nil }
      return "\(open.rawValue)<" + keys.compactMap(\.self).joined(separator: ",") + ">\(close.rawValue)"
    case .matrix, .intervals, .ratio: return nil
    }
  }
}
