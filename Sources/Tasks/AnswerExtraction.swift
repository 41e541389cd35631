/// Finds the final answer in the text of a completion.
public enum AnswerExtraction {
  /// Where an answer was found.
  public enum Source: String, Sendable, Equatable {
    /// The last complete `\boxed{...}` (or `\fbox{...}`).
    case boxed
    /// After the last `####`, to the end of the line (GSM8K).
    case hashes
    /// After the last "answer is" or "answer:", to the end of the sentence.
    case phrase
    /// The whole text, when it is a single short line.
    case whole
    /// The last number in the text.
    case number
  }

  public struct Candidate: Sendable, Equatable {
    public var text: String
    public var source: Source
  }

  /// Longest text that may be an answer as a whole.
  static let maximumWholeBytes = 200

  /// Candidates in order of precedence. A marker (box, hashes, phrase) is a commitment: it is the only candidate then, so
  /// that a completion cannot hedge. Without one, a short text as a whole and its last number both count.
  public static func candidates(in text: String) -> [Candidate] {
    let bytes = Array(text.utf8)
    if let range = lastBoxed(bytes) { return [candidate(bytes, range, .boxed)] }
    if let range = afterHashes(bytes) { return [candidate(bytes, range, .hashes)] }
    if let range = afterPhrase(bytes) { return [candidate(bytes, range, .phrase)] }
    var result: [Candidate] = []
    let trimmed = trim(bytes, 0..<bytes.count)
    if !trimmed.isEmpty, trimmed.count <= maximumWholeBytes, !bytes[trimmed].contains(UInt8(ascii: "\n")) {
      result.append(candidate(bytes, trimmed, .whole))
    }
    if let range = lastNumber(bytes), range != trimmed { result.append(candidate(bytes, range, .number)) }
    return result
  }

  /// The answer a completion commits to, `nil` when there is none: the vote of maj@k.
  public static func finalAnswer(in text: String) -> String? { candidates(in: text).first?.text }

  private static func candidate(_ bytes: [UInt8], _ range: Range<Int>, _ source: Source) -> Candidate {
    Candidate(text: String(decoding: bytes[range], as: UTF8.self), source: source)
  }

  private static func trim(_ bytes: [UInt8], _ range: Range<Int>) -> Range<Int> {
    var (start, end) = (range.lowerBound, range.upperBound)
    while start < end, isSpace(bytes[start]) { start += 1 }
    while end > start, isSpace(bytes[end - 1]) { end -= 1 }
    return start..<end
  }

  /// One pass with a stack of open braces; of nested boxes the outermost closes last.
  private static func lastBoxed(_ bytes: [UInt8]) -> Range<Int>? {
    var open: [(start: Int, isBox: Bool)] = []
    var last: Range<Int>?
    var index = 0
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\\") where index + 1 < bytes.count && !isLetter(bytes[index + 1]): index += 1
      case UInt8(ascii: "{"):
        let before = bytes[..<index]
        open.append((index + 1, ends(before, "\\boxed") || ends(before, "\\fbox")))
      case UInt8(ascii: "}"):
        if let (start, isBox) = open.popLast(), isBox { last = start..<index }
      default: break
      }
      index += 1
    }
    return last.map { trim(bytes, $0) }
  }

  private static func ends(_ bytes: ArraySlice<UInt8>, _ suffix: String) -> Bool {
    bytes.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
  }

  private static func afterHashes(_ bytes: [UInt8]) -> Range<Int>? {
    guard bytes.count >= 4 else { return nil }
    var index = bytes.count - 4
    while index >= 0 {
      if bytes[index..<index + 4].allSatisfy({ $0 == UInt8(ascii: "#") }) {
        let range = trim(bytes, index + 4..<endOfLine(bytes, index + 4))
        return range.isEmpty ? nil : range
      }
      index -= 1
    }
    return nil
  }

  private static func endOfLine(_ bytes: [UInt8], _ start: Int) -> Int {
    bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
  }

  private static let maximumPhrases = 16
  private static let phrases = ["answer is", "answer:"].map { Array($0.utf8) }

  private static func afterPhrase(_ bytes: [UInt8]) -> Range<Int>? {
    var index = bytes.count - 1
    // Each look ahead may run to the end of the line: a text of nothing but empty phrases must not take quadratic time.
    var attempts = 0
    while index >= 0, attempts < maximumPhrases {
      if bytes[index] | 0x20 == UInt8(ascii: "a") {
        for phrase in phrases where matches(bytes, index, phrase) {
          attempts += 1
          var start = index + phrase.count
          while start < bytes.count, isSpace(bytes[start]) || ":*".utf8.contains(bytes[start]) { start += 1 }
          let range = sentence(bytes, start)
          if !range.isEmpty { return range }
        }
      }
      index -= 1
    }
    return nil
  }

  private static func matches(_ bytes: [UInt8], _ start: Int, _ phrase: [UInt8]) -> Bool {
    guard start + phrase.count <= bytes.count else { return false }
    for (offset, byte) in phrase.enumerated() {
      let found = bytes[start + offset]
      if (isLetter(found) ? found | 0x20 : found) != byte { return false }
    }
    return true
  }

  /// From `start` to the end of the line or sentence; `$...$` and `\(...\)` at the start delimit the answer themselves.
  private static func sentence(_ bytes: [UInt8], _ start: Int) -> Range<Int> {
    let end = endOfLine(bytes, start)
    guard start < end else { return start..<start }
    // "$5$" is LaTeX, "$5" is money: only a second dollar closes.
    if bytes[start] == UInt8(ascii: "$"), start + 1 < end {
      let open = bytes[start + 1] == UInt8(ascii: "$") ? start + 2 : start + 1
      // An escaped dollar is part of the answer.
      var close = open
      while close < end, bytes[close] != UInt8(ascii: "$") || bytes[close - 1] == UInt8(ascii: "\\") { close += 1 }
      if close < end { return trim(bytes, open..<close) }
    }
    var stop = start
    while stop < end {
      // A full stop ends the sentence unless it is a decimal point.
      let isStop = bytes[stop] == UInt8(ascii: ".") && (stop + 1 == end || isSpace(bytes[stop + 1]))
      let isSpecialToken = bytes[stop] == UInt8(ascii: "<") && stop + 1 < end && bytes[stop + 1] == UInt8(ascii: "|")
      if isStop || isSpecialToken { break }
      stop += 1
    }
    return trim(bytes, start..<stop)
  }

  /// The last run of digits with its sign, separators, decimals, and a fraction or percent sign.
  private static func lastNumber(_ bytes: [UInt8]) -> Range<Int>? {
    guard let last = bytes.lastIndex(where: isDigit) else { return nil }
    var start = last
    func isDigitAt(_ index: Int) -> Bool { index >= 0 && isDigit(bytes[index]) }
    while start > 0 {
      let before = bytes[start - 1]
      let joins = before == UInt8(ascii: ",") || before == UInt8(ascii: ".") || before == UInt8(ascii: "/")
      if isDigit(before) || (joins && isDigitAt(start - 2)) {
        start -= 1
      } else if before == UInt8(ascii: "."), start < 2 || !isLetter(bytes[start - 2]) {
        // A leading point: .5
        start -= 1
        break
      } else {
        break
      }
    }
    if start > 0, bytes[start - 1] == UInt8(ascii: "-"),
      start < 2 || !(isDigit(bytes[start - 2]) || isLetter(bytes[start - 2]))
    {
      start -= 1
    } else if start > 2, Array(bytes[start - 3..<start]) == [0xE2, 0x88, 0x92] {
      start -= 3
    }
    let end = last + 1 < bytes.count && bytes[last + 1] == UInt8(ascii: "%") ? last + 2 : last + 1
    return isInExpression(bytes, start..<end) ? nil : start..<end
  }

  /// Whether a number is an operand of something larger: the 2 of `\frac{3}{2}`, `2k + 2` or `6 - 2i` is no answer.
  private static func isInExpression(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    if range.lowerBound > 0,
      "{^_\\}".utf8.contains(bytes[range.lowerBound - 1]) || isLetter(bytes[range.lowerBound - 1])
    {
      return true
    }
    if let before = bytes[..<range.lowerBound].last(where: { !isSpace($0) }), "+-*/^<>".utf8.contains(before),
      // Two stars are Markdown.
      !(before == UInt8(ascii: "*") && bytes[range.lowerBound - 1] == before)
    {
      return true
    }
    guard range.upperBound < bytes.count else { return false }
    let after = bytes[range.upperBound]
    if "{}^_\\/".utf8.contains(after) { return true }
    // One letter is a variable, more are a unit.
    return isLetter(after) && (range.upperBound + 1 == bytes.count || !isLetter(bytes[range.upperBound + 1]))
  }
}
