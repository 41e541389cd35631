import ExactArithmetic

/// Answers in `\boxed{...}`.
enum BoxedAnswer {
  struct Box {
    /// Where the command begins, and what its braces hold.
    var start: Int
    var content: Range<Int>
  }

  /// All boxes that are closed (of nested ones the outermost), and where the last one begins that is not.
  static func ranges(in bytes: [UInt8]) -> (complete: [Box], open: Int?) {
    var complete: [Box] = []
    var open: [(start: Int, content: Int, level: Int)] = []
    var level = 0
    bytes.withUnsafeBufferPointer { bytes in
      var index = 0
      let count = bytes.count
      while index < count {
        switch bytes[index] {
        case UInt8(ascii: "\\"):
          if let content = boxContent(bytes, index) {
            open.append((index, content, level))
            level += 1
            index = content
            continue
          }
          // An escaped brace is no brace.
          index += 1
        case UInt8(ascii: "{"): level += 1
        case UInt8(ascii: "}"):
          level = max(open.last.map(\.level) ?? 0, level - 1)
          if let last = open.last, last.level == level {
            open.removeLast()
            while let inner = complete.last, inner.start > last.start { complete.removeLast() }
            complete.append(Box(start: last.start, content: last.content..<index))
          }
        default: break
        }
        index += 1
      }
    }
    return (complete, open.first?.start)
  }

  /// Where the content of a box begins whose command stands at `start`.
  private static func boxContent(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int? {
    for name: StaticString in ["\\boxed", "\\fbox", "\\framebox"] {
      let count = name.utf8CodeUnitCount
      guard start + count < bytes.count else { continue }
      if !(0..<count).allSatisfy({ bytes[start + $0] == name.utf8Start[$0] }) { continue }
      var index = start + count
      while index < bytes.count, isSpace(bytes[index]), index - start < 24 { index += 1 }
      if index < bytes.count, bytes[index] == UInt8(ascii: "{") { return index + 1 }
    }
    return nil
  }

  /// The answer in the last box, or in the boxes that are joined to it: `\boxed{1} and \boxed{-2}`.
  static func last(in bytes: [UInt8]) -> AnswerExtraction.Marked? {
    let (boxes, open) = ranges(in: bytes)
    // A box that is cut off holds no answer.
    if let open, open > (boxes.last?.start ?? -1) { return .init(position: open, conclusion: nil) }
    guard let last = boxes.last else { return nil }
    var first = boxes.count - 1
    while first > 0, boxes.count - first < 32,
      joins(bytes, boxes[first - 1].content.upperBound + 1..<boxes[first].start)
    {
      first -= 1
    }
    var readings: [AnswerReading] = []
    var fault: String?
    for box in boxes[first...] {
      guard box.content.count <= MathVerifier.maximumAnswerBytes else {
        fault = "it is longer than \(MathVerifier.maximumAnswerBytes) bytes"
        continue
      }
      switch Conclusion.reading(bytes[box.content]) {
      case .success(let reading): readings.append(reading)
      case .failure(let error): fault = error.reason
      }
    }
    let from = first == boxes.count - 1 ? boxes[first].content.lowerBound : boxes[first].start
    let text = AnswerExtraction.text(
      bytes, from..<(first == boxes.count - 1 ? last.content.upperBound : last.content.upperBound + 1))
    var conclusion = Conclusion(text: text, source: .boxed, reading: nil, fault: fault)
    if fault == nil, let reading = readings.first {
      conclusion.reading = joined(readings, reading)
      behind(bytes, last.content.upperBound + 1, &conclusion)
    }
    return .init(position: last.start, conclusion: conclusion)
  }

  /// Several boxes are the elements of one list, unless they repeat one answer.
  private static func joined(_ readings: [AnswerReading], _ first: AnswerReading) -> AnswerReading {
    var distinct: [AnswerReading] = []
    var keys: Set<String> = []
    for reading in readings where keys.insert(reading.text).inserted { distinct.append(reading) }
    return distinct.count == 1 ? first : AnswerReading(.collection(distinct))
  }

  /// Whether what stands between two boxes joins them: nothing, a comma, "and", "or".
  private static func joins(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    guard range.count <= 24 else { return false }
    let marks = Set("$,;&*\\()[] \n\t".utf8)
    let rest = bytes[range].filter { !marks.contains($0) }
    let text = String(decoding: rest, as: UTF8.self)
    // Two boxes on lines of their own say the answer again.
    if text.isEmpty, bytes[range].count(where: { $0 == UInt8(ascii: "\n") }) > 1 { return false }
    return text.isEmpty || text == "and" || text == "or" || text == "textand" || text == "textor" || text == "quad"
  }

  /// What follows a box directly may belong to it: a word of scale, another candidate.
  private static func behind(_ bytes: [UInt8], _ start: Int, _ conclusion: inout Conclusion) {
    var index = start
    while index < bytes.count,
      "$} ".utf8.contains(bytes[index])
        || bytes[index] == UInt8(ascii: "\\") && index + 1 < bytes.count
          && ")]".utf8.contains(bytes[index + 1])
    {
      index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
    }
    guard index > start, index < bytes.count, isLetter(bytes[index]) else { return }
    var end = index
    while end < bytes.count, isLetter(bytes[end]) { end += 1 }
    let word = String(decoding: bytes[index..<end].prefix(16), as: UTF8.self).lowercased()
    var reading = conclusion.reading
    if let scale = AnswerWords.scales[word], case .scalar(let value)? = reading?.value {
      var budget = WorkBudget()
      if let scaled = try? value.times(Quotient(ExactRational(scale)), &budget) {
        reading?.value = .scalar(scaled)
        conclusion.reading = reading
      }
    } else if word == "or" {
      let tokens = AnswerExtraction.sentence(bytes, end).tokens
      if let first = tokens.first, first.kind != .word {
        conclusion.reading = nil
        conclusion.fault = "another candidate follows the box"
      }
    }
  }
}
