import ExactArithmetic

/// Reads the tokens of an answer: lists, sets, tuples, intervals, matrices, relations, and values with units.
struct AnswerParser {
  var expression: ExpressionParser
  /// Whether the answer stands in prose, where a clause may follow it.
  let isSentence: Bool
  private var depth = 0
  private static let maximumDepth = 12
  static let maximumElements = 256

  var tokens: [AnswerToken] { expression.tokens }

  /// - Throws: `Unreadable` with the reason when the tokens are no answer.
  static func read(_ tokens: [AnswerToken], isSentence: Bool) throws(Unreadable) -> AnswerReading {
    var parser = AnswerParser(expression: ExpressionParser(tokens), isSentence: isSentence)
    guard !tokens.isEmpty else { throw Unreadable("it is empty") }
    if tokens.contains(where: { $0.isMark(.question) }) { throw Unreadable("it is a question") }
    let end = isSentence ? try parser.clauseStart(0, tokens.count) : tokens.count
    return try parser.whole(0, end)
  }

  private init(expression: ExpressionParser, isSentence: Bool) {
    self.expression = expression
    self.isSentence = isSentence
  }

  // MARK: - Words

  /// Lower-case letters of a word, `nil` where the token is none: a variable, a number, a sign.
  func word(_ index: Int) -> String? {
    let token = tokens[index]
    guard token.kind == .word, !expression.isVariable(index) else { return nil }
    return token.text.lowercased()
  }

  func isConjunction(_ index: Int) -> Bool {
    guard tokens[index].kind == .word else { return false }
    let text = tokens[index].text
    return text == "and" || text == "or" || text == "And" || text == "Or" || text == "OR" || text == "AND"
  }

  /// Where the clause behind an answer in prose begins.
  private func clauseStart(_ start: Int, _ end: Int) throws(Unreadable) -> Int {
    var index = start
    var (hasValue, hasMathematics) = (false, false)
    while index < end {
      let token = tokens[index]
      if expression.partner[index] > index {
        // A note in parentheses is no part of the answer; a unit or a base is.
        if hasValue, token.isMark(.openRound), index + 1 < end, let first = word(index + 1), first != "base",
          !UnitNames.isKnown(first)
        {
          return index
        }
        index = expression.partner[index] + 1
        hasValue = true
        hasMathematics = true
        continue
      }
      if hasValue, index + 1 < end, let next = word(index + 1), !isConjunction(index + 1) {
        // Behind words, one more word is another candidate: "even, odd".
        let isListed = index + 2 == end && !hasMathematics && !AnswerWords.clauses.contains(next)
        if token.isMark(.comma) || token.isMark(.semicolon) || token.isMark(.colon), !isListed,
          token.isMark(.colon) || !AnswerWords.isNumber(next), next != "otherwise", next != "either"
        {
          // "42, no, 43": it is taken back.
          if ["no", "wait", "sorry", "or", "oops"].contains(next) {
            throw Unreadable("it is taken back at \"\(next)\"")
          }
          return index
        }
        if token.isMark(.minus), token.isText, next.utf8.count > 1 { return index }
        // "18 and it is right": no list.
        if isConjunction(index), token.text.lowercased() == "and", !AnswerWords.isNumber(next) { return index }
      }
      if hasValue, isConjunction(index), index + 1 == end { return index }
      // "5 more eggs than Bob", but not "5 more than Bob".
      if hasValue, index > start + 1, word(index) == "than", let before = word(index - 1),
        !AnswerWords.changing.contains(before), word(index - 2) != nil
      {
        return index
      }
      if hasValue, let word = word(index), AnswerWords.clauses.contains(word), word != "and", word != "if" {
        let isUnit = UnitNames.isKnown(word) && (index + 1 == end || tokens[index + 1].isMark(.power))
        let isRate = word == "per" || word == "each" || word == "every" || word == "of"
        if word == "to", index + 2 < end, self.word(index + 2) == "power" {
          throw Unreadable("a power in words stands behind the value")
        }
        if !isUnit, !isRate, word != "to" || !(index + 1 < end && tokens[index + 1].number != nil) { return index }
      }
      if token.kind != .word || expression.isVariable(index) {
        hasValue = hasValue || !isPunctuation(index)
        hasMathematics = hasMathematics || !isPunctuation(index)
      }
      if !hasValue, token.kind == .word, token.text.utf8.count > 1 {
        let word = token.text.lowercased()
        if !AnswerWords.fillers.contains(word) || AnswerWords.isNumber(word) { hasValue = true }
      }
      index += 1
    }
    return end
  }

  private func isPunctuation(_ index: Int) -> Bool {
    switch tokens[index].mark {
    case .comma, .semicolon, .colon, .period, .prime, .arrow: true
    default: false
    }
  }

  // MARK: - Lists

  private mutating func whole(_ first: Int, _ last: Int) throws(Unreadable) -> AnswerReading {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw Unreadable("it is nested too deeply") }
    var (start, end) = (first, last)
    trim(&start, &end)
    guard start < end else { throw Unreadable("it is empty") }
    if tokens[start].isMark(.openBrace), expression.partner[start] == end - 1, !holdsInfix(start + 1, end - 1) {
      return try whole(start + 1, end - 1)
    }
    if let letter = choice(start, end) { return AnswerReading(.word(letter)) }
    let parts = split(start, end)
    if parts.count > Self.maximumElements { throw Unreadable("it has more than \(Self.maximumElements) elements") }
    var elements: [AnswerReading] = []
    for part in parts { elements += try element(part.lowerBound, part.upperBound) }
    guard elements.count != 1 else { return elements[0] }
    guard !elements.isEmpty else { throw Unreadable("it is empty") }
    if let combined = combinedInequalities(elements, start, end) { return combined }
    var result = AnswerReading(.collection(elements))
    result.label = elements[0].label
    return Self.flattened(result)
  }

  private func holdsInfix(_ start: Int, _ end: Int) -> Bool {
    tokens[start..<max(start, end)].contains { $0.isName("over") || $0.isName("choose") }
  }

  /// A label before a list belongs to the list: x = 1, -2.
  private static func flattened(_ reading: AnswerReading) -> AnswerReading {
    guard case .collection(var elements) = reading.value else { return reading }
    for index in elements.indices where elements[index].label == reading.label { elements[index].label = nil }
    var result = reading
    result.value = .collection(elements)
    return result
  }

  private func trim(_ start: inout Int, _ end: inout Int) {
    while start < end, isPunctuation(start) { start += 1 }
    while end > start, isPunctuation(end - 1), !tokens[end - 1].isMark(.prime) { end -= 1 }
  }

  /// The letter of a multiple choice: `(C)`, `C)`, `C) 12`, `C: 12`, `(C) 12`; `nil` for anything else.
  private func choice(_ first: Int, _ end: Int) -> String? {
    var start = first
    while start + 1 < end, let word = word(start), AnswerWords.fillers.contains(word), word.utf8.count > 1 {
      start += 1
    }
    func letter(_ index: Int) -> String? {
      guard index < end, tokens[index].kind == .word, let byte = tokens[index].text.utf8.first,
        tokens[index].text.utf8.count == 1, (byte | 0x20) >= 0x61, (byte | 0x20) <= 0x6A
      else { return nil }
      return tokens[index].text.lowercased()
    }
    if tokens[start].isMark(.openRound), expression.partner[start] == start + 2, let found = letter(start + 1),
      tokens[start + 1].isText || tokens[start + 1].text != found
    {
      let next = start + 3
      guard
        next == end
          || !isConjunction(next) && (tokens[next].number != nil || tokens[next].isText || tokens[next].isMark(.colon))
      else { return nil }
      return found
    }
    guard let found = letter(start) else { return nil }
    // What follows "choice" or "option" may be a clause.
    if start > first, let before = word(start - 1), before == "choice" || before == "option" { return found }
    if start + 1 == end { return tokens[start].isText || start > first ? found : nil }
    let isUpper = tokens[start].text != found
    if tokens[start + 1].isMark(.closeRound), expression.partner[start + 1] < 0 { return found }
    if isUpper, tokens[start + 1].isMark(.period) || tokens[start + 1].isMark(.colon) { return found }
    return nil
  }

  /// Parts between commas, semicolons, "and" and "or" at the level of the range.
  private func split(_ start: Int, _ end: Int) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var index = start
    var from = start
    while index < end {
      if expression.partner[index] > index {
        index = min(end, expression.partner[index] + 1)
        continue
      }
      if tokens[index].isMark(.comma) || tokens[index].isMark(.semicolon) || isConjunction(index),
        !joinsSpelledNumber(index, start, end)
      {
        if from < index { parts.append(from..<index) }
        from = index + 1
      }
      index += 1
    }
    if from < end { parts.append(from..<end) }
    return parts
  }

  /// "two hundred and five".
  private func joinsSpelledNumber(_ index: Int, _ start: Int, _ end: Int) -> Bool {
    guard isConjunction(index), tokens[index].text == "and", index > start, index + 1 < end,
      let before = word(index - 1), let after = word(index + 1)
    else { return false }
    return AnswerWords.scales[before] != nil && AnswerWords.isNumber(after)
  }

  // MARK: - Elements

  /// One element, or two where it holds ±.
  mutating func element(_ first: Int, _ last: Int) throws(Unreadable) -> [AnswerReading] {
    var (start, end) = (first, last)
    trim(&start, &end)
    guard start < end else { return [] }
    if tokens[start].isMark(.openBrace), expression.partner[start] == end - 1, !holdsInfix(start + 1, end - 1) {
      return [try whole(start + 1, end - 1)]
    }
    expression.resetPlusMinus()
    expression.sign = 1
    expression.currency = nil
    let reading = try single(start, end)
    guard expression.hasPlusMinus else { return [reading] }
    expression.resetPlusMinus()
    expression.sign = -1
    expression.currency = nil
    defer { expression.sign = 1 }
    let other = try single(start, end)
    expression.resetPlusMinus()
    return [reading, other]
  }

  /// The positions of marks of some kinds at the level of the range.
  func positions(_ start: Int, _ end: Int, _ isWanted: (AnswerToken.Mark) -> Bool) -> [Int] {
    var result: [Int] = []
    var index = start
    while index < end {
      if let mark = tokens[index].mark, isWanted(mark) { result.append(index) }
      index = expression.partner[index] > index ? expression.partner[index] + 1 : index + 1
    }
    return result
  }

  private mutating func single(_ first: Int, _ end: Int) throws(Unreadable) -> AnswerReading {
    var start = first
    if let words = allWords(start, end) { return words }
    try skipLeadingWords(&start, end)
    guard start < end else { throw Unreadable("it holds no value") }
    let relations = positions(start, end) { mark in
      switch mark {
      case .equal, .approximately, .less, .lessEqual, .greater, .greaterEqual, .notEqual, .element, .arrow: true
      default: false
      }
    }
    if !relations.isEmpty { return try relation(start, end, relations) }
    return try value(start, end)
  }

  static let noSolution = "no solution"
  private static let noSolutions: Set<[String]> = [
    ["no", "solution"], ["no", "solutions"], ["no", "real", "solution"], ["no", "real", "solutions"], ["empty", "set"],
    ["no", "solution", "exists"], ["no", "solutions", "exist"],
  ]

  /// An answer of words alone: "east", "no solution", "twenty-one".
  private func allWords(_ start: Int, _ end: Int) -> AnswerReading? {
    var words: [String] = []
    for index in start..<end {
      if let word = word(index) {
        words.append(word)
      } else if tokens[index].kind == .word, end - start == 1, tokens[index].isText {
        words.append(tokens[index].text.lowercased())
      } else if !isPunctuation(index), !tokens[index].isMark(.minus) {
        return nil
      }
    }
    var content = words.filter { !AnswerWords.articles.contains($0) }
    // "exactly Navin", "choice A".
    while content.count > 1, AnswerWords.adverbs.contains(content[0]) { content.removeFirst() }
    if let (value, count) = AnswerWords.spelledNumber(content), count > 0 {
      let rest = Array(content.dropFirst(count))
      guard rest.allSatisfy({ !AnswerWords.changing.contains($0) && AnswerWords.parts[$0] == nil }) else {
        return AnswerReading(.word(content.joined(separator: " ")))
      }
      var reading = AnswerReading(.scalar(Quotient(ExactRational(value))))
      reading.isLiteral = true
      if rest.first == "percent" {
        reading.isPercent = true
      } else if !rest.isEmpty {
        reading.unit = UnitNames.unit(rest, power: 1)
      }
      return reading
    }
    guard !content.isEmpty, content.count <= 12 else { return nil }
    if Self.noSolutions.contains(content) { return AnswerReading(.word(Self.noSolution)) }
    return AnswerReading(.word(content.joined(separator: " ")))
  }

  /// Passes "the answer is", "Total:", "USD", "Option"; refuses "not", "at least" and their like.
  private func skipLeadingWords(_ start: inout Int, _ end: Int) throws(Unreadable) {
    while start < end {
      if let word = word(start) {
        if AnswerWords.isNumber(word) { return }
        if AnswerWords.changingBefore.contains(word) { throw Unreadable("\"\(word)\" stands before the value") }
        start += 1
      } else if isPunctuation(start) || tokens[start].isMark(.approximately) {
        start += 1
      } else {
        return
      }
    }
  }

  /// A value without a relation: a bracket, a matrix, a union, a ratio, or a scalar with its unit.
  mutating func value(_ first: Int, _ last: Int) throws(Unreadable) -> AnswerReading {
    var (start, end) = (first, last)
    trim(&start, &end)
    guard start < end else { throw Unreadable("it is empty") }
    if let words = allWords(start, end) { return words }
    try skipLeadingWords(&start, end)
    guard start < end else { throw Unreadable("it holds no value") }
    let unions = unionSigns(start, end)
    if !unions.isEmpty { return try union(start, end, unions) }
    if let bracketed = try bracketed(start, end) { return bracketed }
    let colons = positions(start, end) { $0 == .colon } + ratioWords(start, end)
    if !colons.isEmpty { return try ratio(start, end, colons) }
    return try quantity(start, end)
  }

  private func unionSigns(_ start: Int, _ end: Int) -> [Int] {
    var result = positions(start, end) { $0 == .union }
    // The letter U between brackets.
    for index in start..<end where tokens[index].kind == .word && tokens[index].text == "U" && index > start {
      let before = tokens[index - 1].mark
      if index + 1 < end, before == .closeRound || before == .closeSquare,
        tokens[index + 1].isMark(.openRound) || tokens[index + 1].isMark(.openSquare)
      {
        result.append(index)
      }
    }
    return result.sorted()
  }

  /// "to" between two numbers.
  private func ratioWords(_ start: Int, _ end: Int) -> [Int] {
    guard end - start >= 3 else { return [] }
    return ((start + 1)..<(end - 1)).filter {
      tokens[$0].kind == .word && tokens[$0].text == "to" && tokens[$0 - 1].number != nil
        && tokens[$0 + 1].number != nil
    }
  }

  private mutating func ratio(_ start: Int, _ end: Int, _ colons: [Int]) throws(Unreadable) -> AnswerReading {
    var parts: [Quotient] = []
    var unit: AnswerUnit?
    var from = start
    for colon in colons + [end] {
      var at = from
      let part = try expression.sum(&at, colon)
      let rest = at < end && colon == end ? try quantityTail(part, at, end, isLiteral: false) : nil
      guard at == colon || rest != nil else { throw Unreadable("a ratio has a part that is no number") }
      parts.append(part)
      unit = rest?.unit
      from = colon + 1
    }
    var reading = AnswerReading(.ratio(parts))
    // Of a time of day: 12:30 PM.
    if unit?.dimension?.hasPrefix("clock") == true { reading.unit = unit }
    return reading
  }
}
