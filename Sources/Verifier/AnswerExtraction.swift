import ExactArithmetic

/// Finds the answer that a completion comes to: the last conclusion in its text.
public enum AnswerExtraction {
  /// The rule that found an answer.
  public enum Source: String, Sendable, Equatable {
    /// The last complete `\boxed{...}` (or `\fbox{...}`), or several joined to a list.
    case boxed
    /// Behind `####` (GSM8K).
    case hashes
    /// Between `<answer>` and `</answer>`.
    case tag
    /// Behind "answer is", "answer:", under a heading "Final answer", before "is the answer".
    case phrase
    /// The last line, when it is an answer and nothing else.
    case whole
    /// A concluding sentence: what "is", "makes" or "=" commits to.
    case sentence
  }

  /// The answer a completion commits to, `nil` when there is none: the vote of maj@k.
  public static func finalAnswer(in text: String) -> String? {
    conclusion(in: text, marked: false).flatMap { $0.reading == nil ? nil : $0.text }
  }

  /// - Parameter marked: whether only marked answers count.
  static func conclusion(in text: String, marked: Bool) -> Conclusion? {
    var text = text
    return text.withUTF8 { buffer in
      // One copy of at most what stands behind the thoughts.
      guard let region = afterThoughts(buffer) else { return nil }
      let bytes = Array(buffer[region])
      if let found = markedConclusion(bytes) { return found.conclusion }
      return marked ? nil : UnmarkedAnswer.conclusion(bytes)
    }
  }

  private static let thoughtStarts: [StaticString] = ["<think>", "<thinking>", "<thought>"]
  private static let thoughtEnds: [StaticString] = ["</think>", "</thinking>", "</thought>"]

  /// What stands behind the thoughts; `nil` when they never end.
  private static func afterThoughts(_ bytes: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
    var index = bytes.count - 1
    while index >= 0 {
      if bytes[index] == UInt8(ascii: "<"), index + 6 < bytes.count,
        bytes[index + 1] == UInt8(ascii: "/") || bytes[index + 1] == UInt8(ascii: "t")
      {
        for name in thoughtEnds where matches(bytes, index, name) {
          return index + name.utf8CodeUnitCount..<bytes.count
        }
        for name in thoughtStarts where matches(bytes, index, name) { return nil }
      }
      index -= 1
    }
    return 0..<bytes.count
  }

  private static func matches(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ text: StaticString) -> Bool {
    guard start + text.utf8CodeUnitCount <= bytes.count else { return false }
    for offset in 0..<text.utf8CodeUnitCount where bytes[start + offset] != text.utf8Start[offset] { return false }
    return true
  }

  // MARK: - Marked answers

  /// An answer behind a marker, or a marker that leads to none: a box that is cut off, "the answer is not 5".
  struct Marked {
    var position: Int
    /// `nil` when the marker denies an answer.
    var conclusion: Conclusion?
  }

  /// The last of boxes, `####`, tags and phrases decides.
  private static func markedConclusion(_ bytes: [UInt8]) -> Marked? {
    var best: Marked?
    func consider(_ candidate: Marked?) {
      guard let candidate else { return }
      if best == nil || candidate.position > best!.position { best = candidate }
    }
    consider(BoxedAnswer.last(in: bytes))
    consider(MarkedAnswer.tag(bytes))
    consider(MarkedAnswer.hashes(bytes))
    let isWord: Bool
    if case .word? = best?.conclusion?.reading?.value {
      isWord = true
    } else {
      isWord = best?.conclusion?.reading == nil
    }
    consider(AnswerPhrase.last(in: bytes, after: best?.position ?? -1, wordsCount: best == nil || isWord))
    return best
  }

  /// The range of the answer in a reference that is a worked solution.
  static func workedAnswer(_ bytes: [UInt8]) -> Range<Int>? {
    guard bytes.contains(UInt8(ascii: "#")) || bytes.contains(UInt8(ascii: "\\")) else { return nil }
    if let box = BoxedAnswer.ranges(in: bytes).complete.last { return box.content }
    return MarkedAnswer.afterHashes(bytes)
  }

  /// Without surrounding white space.
  package static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
    else { return bytes.prefix(0) }
    return bytes[first...last]
  }

  /// Whether `word` (lower-case letters) stands at `start`, in any case.
  static func hasWord(_ bytes: [UInt8], _ start: Int, _ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard start >= 0, start + count <= bytes.count else { return false }
    for offset in 0..<count {
      let expected = word.utf8Start[offset]
      let found = bytes[start + offset]
      if found != expected, !(isLetter(expected) && found | 0x20 == expected && isLetter(found)) { return false }
    }
    return true
  }

  /// A reading of a range as part of a sentence: up to its end.
  static func sentence(_ bytes: [UInt8], _ start: Int) -> (tokens: [AnswerToken], end: Int) {
    AnswerLexer.tokens(bytes[start..<min(bytes.count, start + 8000)], .sentence)
  }

  static func text(_ bytes: [UInt8], _ range: Range<Int>) -> String {
    String(decoding: trimmed(bytes[range]).prefix(MathVerifier.maximumAnswerBytes + 1), as: UTF8.self)
  }
}
