import ExactArithmetic

/// Answers announced in words: "the answer is 18", "Answer: 18", "18 is the answer", "the correct option is (C)".
enum AnswerPhrase {
  /// Each look ahead may run to the end of a sentence: a text of nothing but empty phrases must not take long.
  private static let maximumAttempts = 16

  /// The last phrase behind `position` that leads to an answer, or denies one.
  /// - Parameter wordsCount: whether an answer of words alone counts.
  static func last(in bytes: [UInt8], after position: Int, wordsCount: Bool) -> AnswerExtraction.Marked? {
    var index = bytes.count - 6
    var attempts = 0
    while index > position, attempts < maximumAttempts {
      defer { index -= 1 }
      let byte = bytes[index]
      // a(nswer), o(ption), c(hoice), 答; Antwort, respuesta, réponse
      switch byte | 0x20 {
      case UInt8(ascii: "a") where AnswerExtraction.hasWord(bytes, index, "answer"):
        attempts += 1
        if let found = announced(bytes, index, index + 6, wordsCount: wordsCount) { return found }
      case UInt8(ascii: "a") where AnswerExtraction.hasWord(bytes, index, "antwort "),
        UInt8(ascii: "r") where AnswerExtraction.hasWord(bytes, index, "réponse "):
        attempts += 1
        if let found = announced(
          bytes, index, index + (bytes[index] | 0x20 == UInt8(ascii: "a") ? 7 : 8), wordsCount: wordsCount)
        {
          return found
        }
      case UInt8(ascii: "r") where AnswerExtraction.hasWord(bytes, index, "respuesta "):
        attempts += 1
        if let found = announced(bytes, index, index + 9, wordsCount: wordsCount) { return found }
      case UInt8(ascii: "o") where AnswerExtraction.hasWord(bytes, index, "option"),
        UInt8(ascii: "c") where AnswerExtraction.hasWord(bytes, index, "choice"):
        attempts += 1
        if let found = option(bytes, index, index + 6) { return found }
      default:
        guard byte == 0xE7, AnswerExtraction.hasWord(bytes, index, "答案") else { continue }
        attempts += 1
        if let found = announced(bytes, index, index + 6, wordsCount: wordsCount) { return found }
      }
    }
    return nil
  }

  private static func announced(_ bytes: [UInt8], _ start: Int, _ end: Int, wordsCount: Bool) -> AnswerExtraction
    .Marked?
  {
    switch valueStart(bytes, start, end) {
    case .value(let value):
      guard var found = read(bytes, from: value, position: start, wordsCount: wordsCount) else { return nil }
      if isSupposed(bytes, start) {
        found.conclusion?.reading = nil
        found.conclusion?.fault = "the answer is only supposed"
      }
      return found
    case .denied: return .init(position: start, conclusion: nil)
    case .none: return isTheAnswer(bytes, start)
    }
  }

  /// "The correct option is (E)": a letter.
  private static func option(_ bytes: [UInt8], _ start: Int, _ end: Int) -> AnswerExtraction.Marked? {
    guard case .value(let value) = valueStart(bytes, start, end), !isSupposed(bytes, start),
      let marked = read(bytes, from: value, position: start, wordsCount: true),
      case .word(let word)? = marked.conclusion?.reading?.value, word.utf8.count == 1
    else { return nil }
    return marked
  }

  // MARK: - Where the value begins

  private enum Announcement {
    case value(Int)
    /// "The answer could be", "the answer isn't".
    case denied
    case none
  }

  /// Words before "answer" in its sentence with which it states nothing.
  private static let suppositions: Set<String> = [
    "if", "let", "suppose", "supposing", "assume", "assuming", "whether", "may", "might", "could", "unless", "doubt",
    "doubtful", "unlikely", "unsure", "wonder", "guess",
  ]

  private static func isSupposed(_ bytes: [UInt8], _ start: Int) -> Bool {
    let begin = max(UnmarkedAnswer.sentenceStart(bytes, before: start), start - 200)
    return String(decoding: bytes[begin..<start], as: UTF8.self).lowercased().split { !$0.isLetter }
      .contains { suppositions.contains(String($0)) }
  }

  /// What stands between "answer" and the answer, "ist", "lautet", "es" and "est" of other languages included.
  private static let verbs: Set<String> = [
    "is", "are", "was", "equals", "be", "becomes", "being", "ist", "lautet", "es", "est",
  ]

  /// What a phrase announces whose word ends at `end`.
  private static func valueStart(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Announcement {
    func announcement(_ index: Int?) -> Announcement { index.map(Announcement.value) ?? .none }
    var index = end
    func byte(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }
    if byte(index) | 0x20 == UInt8(ascii: "s") { index += 1 }
    var words = 0
    while index < bytes.count, index - end < 80 {
      let current = byte(index)
      switch current {
      case UInt8(ascii: ":"), UInt8(ascii: "="):
        return announcement(skipToValue(bytes, index + 1))
      case UInt8(ascii: "\n"):
        return isHeading(bytes, start) ? announcement(skipToValue(bytes, index)) : .none
      case _ where isLetter(current):
        var wordEnd = index
        while isLetter(byte(wordEnd)) { wordEnd += 1 }
        let word = String(decoding: bytes[index..<wordEnd].prefix(12), as: UTF8.self).lowercased()
        index = wordEnd
        words += 1
        if verbs.contains(word) {
          return byte(index) == UInt8(ascii: "n") ? .denied : announcement(skipToValue(bytes, index))
        }
        if ["could", "might", "may", "cannot", "can", "isn", "wasn", "not"].contains(word) { return .denied }
        // "comes out to 18"
        if word == "to", words > 1,
          ["out ", "nts ", "mes "].contains(where: { AnswerExtraction.hasWord(bytes, wordEnd - 6, $0) })
        {
          return announcement(skipToValue(bytes, index))
        }
        if ["and", "that", "which", "but", "or", "with", "we", "you"].contains(word) || words > 8 { return .none }
        continue
      case 0xE6, 0xE4, 0xE7, 0xEF:
        // 是, 为, 為, ：
        for sign: StaticString in ["是", "为", "為", "：", "等于"] where AnswerExtraction.hasWord(bytes, index, sign) {
          return announcement(skipToValue(bytes, index + sign.utf8CodeUnitCount))
        }
        return .none
      case UInt8(ascii: "."), UInt8(ascii: ","), UInt8(ascii: "?"), UInt8(ascii: "!"), UInt8(ascii: "<"),
        UInt8(ascii: ">"):
        return .none
      default: break
      }
      index += 1
    }
    return .none
  }

  /// Whether a line holds "answer" or "final answer" and nothing before it.
  private static func isHeading(_ bytes: [UInt8], _ start: Int) -> Bool {
    var begin = start
    while begin > 0, bytes[begin - 1] != UInt8(ascii: "\n"), start - begin < 40 { begin -= 1 }
    let words = String(decoding: bytes[begin..<start], as: UTF8.self).lowercased()
      .split { !$0.isLetter }.map(String.init)
    return words.allSatisfy { ["final", "the", "correct", "my"].contains($0) }
  }

  /// Passes spaces, line ends, Markdown, code fences, quotes, list marks.
  private static func skipToValue(_ bytes: [UInt8], _ start: Int) -> Int? {
    var index = start
    var isLineStart = false
    while index < bytes.count, index - start < 400 {
      let byte = bytes[index]
      if byte == UInt8(ascii: "\n") {
        isLineStart = true
        index += 1
      } else if isSpace(byte) || ":*\"'`".utf8.contains(byte) {
        // The word behind a code fence names its language.
        if byte == UInt8(ascii: "`"), AnswerExtraction.hasWord(bytes, index, "```") {
          index += 3
          while index < bytes.count, isLetter(bytes[index]) { index += 1 }
          if index < bytes.count, bytes[index] != UInt8(ascii: "\n"), isDigit(bytes[index]) { return index }
          continue
        }
        index += 1
      } else if isLineStart, "-+>".utf8.contains(byte), index + 1 < bytes.count, isSpace(bytes[index + 1]) {
        index += 2
      } else if AnswerExtraction.hasWord(bytes, index, "：") || AnswerExtraction.hasWord(bytes, index, "“") {
        index += 3
      } else {
        return index
      }
    }
    return index < bytes.count ? index : nil
  }

  // MARK: - Reading

  private static func read(_ bytes: [UInt8], from start: Int, position: Int, wordsCount: Bool) -> AnswerExtraction
    .Marked?
  {
    let (tokens, end) = AnswerExtraction.sentence(bytes, start)
    guard !tokens.isEmpty else { return nil }
    var conclusion = Conclusion(
      text: AnswerExtraction.text(bytes, start..<max(start, end)), source: .phrase, reading: nil, fault: nil)
    let hasValue = tokens.contains { $0.kind != .word && $0.mark != .comma && $0.mark != .colon }
    do {
      let reading = try AnswerParser.read(tokens, isSentence: true)
      if case .word(let text) = reading.value {
        let words = text.split(separator: " ").map(String.init)
        if words.first == "not" || words.first == "either" {
          conclusion.fault = "the answer is denied or left open"
          return .init(position: position, conclusion: conclusion)
        }
        let isRemark =
          words.count > 4 || words.contains { AnswerWords.remarks.contains($0) && words.count > 1 }
          || AnswerWords.remarks.contains(words[0])
        if isRemark || !wordsCount { return nil }
      }
      conclusion.reading = reading
    } catch {
      guard hasValue else { return nil }
      conclusion.fault = error.reason
    }
    return .init(position: position, conclusion: conclusion)
  }

  /// "18 is the answer": what stands before.
  private static func isTheAnswer(_ bytes: [UInt8], _ start: Int) -> AnswerExtraction.Marked? {
    for phrase: StaticString in ["is the final ", "is the correct ", "is our final ", "is the ", "is my ", "is our "] {
      let begin = start - phrase.utf8CodeUnitCount
      guard AnswerExtraction.hasWord(bytes, begin, phrase), begin > 0, isSpace(bytes[begin - 1]) else { continue }
      let from = UnmarkedAnswer.sentenceStart(bytes, before: begin)
      let tokens = AnswerLexer.tokens(bytes[from..<begin], .sentence).tokens
      guard !tokens.isEmpty, tokens.contains(where: { $0.kind != .word || $0.text.utf8.count == 1 }) else { return nil }
      var conclusion = Conclusion(
        text: AnswerExtraction.text(bytes, from..<begin), source: .phrase, reading: nil, fault: nil)
      do { conclusion.reading = try AnswerParser.read(tokens, isSentence: false) } catch {
        conclusion.fault = error.reason
      }
      return .init(position: begin, conclusion: conclusion)
    }
    return nil
  }
}
