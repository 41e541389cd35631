import ExactArithmetic

/// Answers behind `####` and between `<answer>` tags.
enum MarkedAnswer {
  private static let maximumAttempts = 16

  /// The last `<answer>...</answer>`.
  static func tag(_ bytes: [UInt8]) -> AnswerExtraction.Marked? {
    let plain = tag(bytes, "<answer>", "</answer>")
    let final = tag(bytes, "<final_answer>", "</final_answer>")
    return (plain?.position ?? -1) > (final?.position ?? -1) ? plain : final
  }

  private static func tag(_ bytes: [UInt8], _ opening: StaticString, _ closing: StaticString) -> AnswerExtraction
    .Marked?
  {
    guard let close = last(bytes, closing, before: bytes.count), let open = last(bytes, opening, before: close)
    else { return nil }
    var start = open + opening.utf8CodeUnitCount
    while start < close, isSpace(bytes[start]) { start += 1 }
    let content = start..<close
    guard !content.isEmpty else { return .init(position: open, conclusion: nil) }
    var conclusion = Conclusion(text: AnswerExtraction.text(bytes, content), source: .tag, reading: nil, fault: nil)
    guard content.count <= MathVerifier.maximumAnswerBytes else { return .init(position: open, conclusion: conclusion) }
    let (tokens, end) = AnswerLexer.tokens(bytes[content], .sentence)
    do {
      // Several lines are no sentence: one answer in mathematics, such as a matrix.
      if AnswerExtraction.trimmed(bytes[end..<close]).count > 1 {
        conclusion.reading = try Conclusion.reading(bytes[content]).get()
      } else {
        conclusion.reading = try AnswerParser.read(tokens, isSentence: true)
      }
    } catch {
      conclusion.fault = error.reason
    }
    return .init(position: open, conclusion: conclusion)
  }

  private static func last(_ bytes: [UInt8], _ tag: StaticString, before end: Int) -> Int? {
    var index = end - tag.utf8CodeUnitCount
    while index >= 0 {
      if bytes[index] == UInt8(ascii: "<"), bytes[index + 1] != UInt8(ascii: "<"),
        AnswerExtraction.hasWord(bytes, index, tag)
      {
        return index
      }
      index -= 1
    }
    return nil
  }

  /// The last `####` line that holds an answer; headings are passed over.
  static func hashes(_ bytes: [UInt8]) -> AnswerExtraction.Marked? {
    var index = bytes.count - 4
    var attempts = 0
    while index >= 0, attempts < maximumAttempts {
      guard let start = hashRun(bytes, &index) else { return nil }
      attempts += 1
      if let conclusion = line(bytes, start) { return .init(position: index, conclusion: conclusion) }
      index -= 1
    }
    return nil
  }

  /// Moves `index` back to the start of the last run of at least four hashes; where the run ends.
  private static func hashRun(_ bytes: [UInt8], _ index: inout Int) -> Int? {
    let hash = UInt8(ascii: "#")
    while index >= 0 {
      if bytes[index] == hash {
        var end = index
        while end < bytes.count, bytes[end] == hash { end += 1 }
        var start = index
        while start > 0, bytes[start - 1] == hash { start -= 1 }
        index = start
        if end - start >= 4 { return end }
      }
      index -= 1
    }
    return nil
  }

  private static func line(_ bytes: [UInt8], _ start: Int) -> Conclusion? {
    var begin = start
    while begin < bytes.count, bytes[begin] == UInt8(ascii: " ") || bytes[begin] == UInt8(ascii: "*") { begin += 1 }
    guard begin < bytes.count, bytes[begin] != UInt8(ascii: "\n") else { return nil }
    let (tokens, end) = AnswerExtraction.sentence(bytes, begin)
    guard let first = tokens.first else { return nil }
    let isLastLine = AnswerExtraction.trimmed(bytes[min(end + 1, bytes.count)...].prefix(64)).isEmpty
    // "#### Step 1", "#### 2. Multiply": headings.
    if first.kind == .word, first.text.utf8.count > 1, !isLastLine { return nil }
    if first.number != nil, tokens.count == 1, end < bytes.count, bytes[end] == UInt8(ascii: "."), !isLastLine,
      end + 2 < bytes.count, isLetter(bytes[end + 2])
    {
      return nil
    }
    var conclusion = Conclusion(
      text: AnswerExtraction.text(bytes, begin..<max(begin, end)), source: .hashes, reading: nil, fault: nil)
    do {
      conclusion.reading = try AnswerParser.read(tokens, isSentence: true)
    } catch {
      conclusion.fault = error.reason
    }
    return conclusion
  }

  /// The line behind the last `####`.
  static func afterHashes(_ bytes: [UInt8]) -> Range<Int>? {
    var index = bytes.count - 4
    guard let start = hashRun(bytes, &index) else { return nil }
    let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
    return AnswerExtraction.trimmed(bytes[start..<end]).isEmpty ? nil : start..<end
  }
}
