import ExactArithmetic

/// Answers without a marker: a last line that is an answer, or a concluding sentence.
///
/// A number is no answer because it stands last: a sentence must commit to it ("so it is 18", "she makes 18 dollars", "= 18"),
/// and hedges, questions, tasks, lists of candidates and sentences that are cut off commit to nothing.
enum UnmarkedAnswer {
  /// How far back the last line is looked at.
  private static let maximumBytes = 4000
  private static let maximumLineBytes = 400

  static func conclusion(_ bytes: [UInt8]) -> Conclusion? {
    guard let line = lastLine(bytes) else { return nil }
    if line.count <= maximumLineBytes, let found = whole(bytes, line, isOnly: isOnlyLine(bytes, line)) { return found }
    return sentence(bytes, line)
  }

  // MARK: - Lines

  /// The last line with content, without list marks, quotes and rules.
  private static func lastLine(_ bytes: [UInt8]) -> Range<Int>? {
    var end = bytes.count
    while end > 0 {
      while end > 0, isSpace(bytes[end - 1]) { end -= 1 }
      guard end > 0 else { return nil }
      var start = end
      while start > 0, bytes[start - 1] != UInt8(ascii: "\n"), end - start < maximumBytes { start -= 1 }
      let isRule = bytes[start..<end].allSatisfy { "-*_`=# ".utf8.contains($0) }
      if !isRule {
        if start > 0, bytes[start - 1] != UInt8(ascii: "\n") { start = sentenceStart(bytes, before: end) }
        return withoutListMark(bytes, start..<end)
      }
      end = start
    }
    return nil
  }

  private static func withoutListMark(_ bytes: [UInt8], _ line: Range<Int>) -> Range<Int> {
    var start = line.lowerBound
    while start + 1 < line.upperBound, "->*#".utf8.contains(bytes[start]) || isSpace(bytes[start]),
      isSpace(bytes[start]) || isSpace(bytes[start + 1]) || bytes[start] == UInt8(ascii: "#")
    {
      // "- 5" alone may be a negative number: only a mark of a list in a longer text is one.
      if bytes[start] == UInt8(ascii: "-"), start == 0 { break }
      start += 1
    }
    return start..<line.upperBound
  }

  private static func isOnlyLine(_ bytes: [UInt8], _ line: Range<Int>) -> Bool {
    AnswerExtraction.trimmed(bytes[..<line.lowerBound]).isEmpty
  }

  /// Where the sentence begins that `end` belongs to.
  static func sentenceStart(_ bytes: [UInt8], before end: Int) -> Int {
    var start = end
    while start > 0, end - start < 1000 {
      let byte = bytes[start - 1]
      if byte == UInt8(ascii: "\n") { break }
      if start < end, isSpace(bytes[start]), ".!?".utf8.contains(byte) { break }
      start -= 1
    }
    while start < end, isSpace(bytes[start]) { start += 1 }
    return start
  }

  // MARK: - A line that is an answer

  private static func whole(_ bytes: [UInt8], _ line: Range<Int>, isOnly: Bool) -> Conclusion? {
    let (tokens, end) = AnswerLexer.tokens(bytes[line], .sentence)
    guard let first = tokens.first else { return nil }
    // What follows the answer may be a full stop, Markdown or a special token.
    let rest = bytes[min(end, line.upperBound)..<line.upperBound]
    guard
      rest.isEmpty || rest.first == UInt8(ascii: "<")
        || rest.allSatisfy({ isSpace($0) || ".!*`\"'$)".utf8.contains($0) })
    else { return nil }
    let isWord =
      first.kind == .word && (first.text.utf8.count > 1 || first.text == "I" || first.text == "A" && tokens.count > 2)
    if isWord, !isOnly { return nil }
    guard let reading = try? AnswerParser.read(tokens, isSentence: false) else { return nil }
    switch reading.value {
    case .word(let word):
      // A sentence is no answer in words.
      if word.utf8.count > 1, !isOnly || word.split(separator: " ").count > 3 || word.contains(" is ") { return nil }
    case .collection where isWord: return nil
    default: if isWord, !AnswerWords.isNumber(first.text.lowercased()), !isBareLabel(tokens) { return nil }
    }
    return Conclusion(text: AnswerExtraction.text(bytes, line.lowerBound..<end), source: .whole, reading: reading)
  }

  /// "Total = 29": words up to an equals sign.
  private static func isBareLabel(_ tokens: [AnswerToken]) -> Bool {
    guard let equal = tokens.firstIndex(where: { $0.isMark(.equal) || $0.isMark(.arrow) }) else { return false }
    return tokens[..<equal].allSatisfy { $0.kind == .word && !hedges.contains($0.text.lowercased()) }
  }

  // MARK: - A concluding sentence

  /// Words with which a sentence commits to nothing.
  private static let hedges: Set<String> = [
    "could", "may", "might", "maybe", "perhaps", "possibly", "suppose", "assume", "assuming", "let", "if", "not",
    "cannot",
    "can't", "trial", "candidates", "candidate", "whether", "either", "consider", "define", "find", "determine",
    "compute",
    "calculate", "express", "how", "what", "why", "list", "guess", "never", "neither", "nor", "unless", "try", "wait",
    "no",
    "unclear", "unknown", "wrong", "incorrect", "isn't", "doesn't", "don't", "won't", "contradiction", "fails",
    "question",
    "given", "between", "least", "most", "show", "prove", "evaluate", "simplify", "solve", "write", "let's", "hmm",
    "next",
    "or", "otherwise", "step",
  ]
  private static let verbs: Set<String> = [
    "is", "are", "was", "were", "equals", "equal", "be", "get", "gets", "got", "have", "has", "had", "make", "makes",
    "made",
    "earn", "earns", "earned", "pay", "pays", "paid", "cost", "costs", "need", "needs", "needed", "give", "gives",
    "becomes",
    "leaves", "leave", "left", "obtain", "yields", "totals", "total", "spend", "spends", "spent", "take", "takes",
    "took",
    "receives", "received", "contains", "remains", "remain", "sells", "sold", "saves", "saved", "uses", "used", "owns",
    "weighs", "worth", "sum", "bought", "buy", "buys", "ate", "eats", "eat", "drives", "travels", "walks", "ran",
    "runs",
    "reads", "read", "bakes", "collects", "collected", "found", "finds", "owes", "charges", "holds", "produces", "sees",
    "plants", "invite", "invites", "sell", "lose", "loses", "win", "wins", "gain", "gains", "drive", "travel", "walk",
    "collect", "bake", "plant", "pick", "picks", "carry", "carries", "serve", "serves", "feed", "feeds", "fill",
    "fills",
    "send", "sends", "keep", "keeps", "fit", "fits", "lost", "won", "scored", "gained", "requires", "covers", "works",
    "contain", "require", "produce", "of",
    "by",
    "finished", "completed", "receive", "save", "use", "sell", "drink", "drinks", "was", "lasts", "reaches", "carries",
    "therefore", "thus", "hence", "so", "it's", "that's", "there's", "about", "exactly", "approximately",
  ]
  private static let conclusions: Set<String> = [
    "so", "therefore", "thus", "hence", "conclusion", "means", "altogether",
  ]

  private static func sentence(_ bytes: [UInt8], _ line: Range<Int>) -> Conclusion? {
    var start = line.lowerBound
    var sentences: [(start: Int, tokens: [AnswerToken], end: Int)] = []
    while start < line.upperBound, sentences.count < 200 {
      let (tokens, end) = AnswerLexer.tokens(bytes[start..<line.upperBound], .sentence)
      if !tokens.isEmpty { sentences.append((start, tokens, end)) }
      start = max(end, start) + 1
    }
    // A remark without a number may follow the conclusion.
    for (start, tokens, end) in sentences.suffix(3).reversed() {
      let words = tokens.filter { $0.kind == .word }.map { $0.text.lowercased() }
      if tokens.contains(where: { $0.isMark(.question) }) || words.contains(where: hedges.contains) { return nil }
      let hasValue = tokens.contains { $0.number != nil || $0.kind == .name }
      let isCut = end >= line.upperBound
      if let found = commitment(tokens, isCut: isCut) {
        return Conclusion(
          text: AnswerExtraction.text(bytes, start..<max(start, end)), source: .sentence, reading: found)
      }
      if hasValue || isCut { return nil }
    }
    return nil
  }

  /// What a sentence commits to: the value behind its verb, behind its last `=`, or `nil`.
  private static func commitment(_ tokens: [AnswerToken], isCut: Bool) -> AnswerReading? {
    var from = 0
    for (index, token) in tokens.enumerated() where token.kind == .word && conclusions.contains(token.text.lowercased())
    {
      from = index
    }
    for begin in from == 0 ? [0] : [from, 0] {
      for index in begin..<tokens.count where tokens[index].kind == .word && tokens[index].isText {
        guard verbs.contains(tokens[index].text.lowercased()), index + 1 < tokens.count else { continue }
        var next = index + 1
        // "Therefore, 9 apples are left."
        if conclusions.contains(tokens[index].text.lowercased()), tokens[next].isMark(.comma) { next += 1 }
        while next < tokens.count, tokens[next].kind == .word,
          AnswerWords.fillers.contains(tokens[next].text.lowercased())
        {
          next += 1
        }
        guard next < tokens.count, startsValue(tokens, next, after: tokens[index].text.lowercased()) else { continue }
        if let reading = reading(tokens, next, isCut: isCut) { return reading }
      }
    }
    if let sign = tokens.lastIndex(where: { $0.isMark(.equal) || $0.isMark(.arrow) }), sign + 1 < tokens.count {
      return reading(tokens, sign + 1, isCut: isCut)
    }
    // "Total cost: $9".
    if let colon = tokens.firstIndex(where: { $0.isMark(.colon) }), (1...4).contains(colon), colon + 1 < tokens.count,
      tokens[..<colon].allSatisfy({ $0.kind == .word && $0.isText }), startsValue(tokens, colon + 1, after: ""),
      let found = reading(tokens, colon + 1, isCut: isCut), case .scalar = found.value
    {
      return found
    }
    return nil
  }

  private static func startsValue(_ tokens: [AnswerToken], _ index: Int, after verb: String) -> Bool {
    switch tokens[index].kind {
    case .number, .name: return true
    case .mark(let mark): return ![.comma, .colon, .semicolon, .period, .equal, .closeRound, .ellipsis].contains(mark)
    case .word:
      if !tokens[index].isText { return true }
      let word = tokens[index].text.lowercased()
      if AnswerWords.isNumber(word) { return true }
      // A word that ends the sentence, behind a verb that names results: "we get east".
      return index + 1 == tokens.count && ["is", "get", "are"].contains(verb) && !AnswerWords.remarks.contains(word)
        && !AnswerWords.clauses.contains(word)
    }
  }

  /// The value that begins at `start`; where a sentence is cut off, only one that ends it.
  private static func reading(_ tokens: [AnswerToken], _ start: Int, isCut: Bool) -> AnswerReading? {
    let rest = Array(tokens[start...])
    // Where a sentence is cut off, nothing but the value and its unit may stand there.
    guard let reading = try? AnswerParser.read(rest, isSentence: !isCut) else { return nil }
    return reading
  }
}
