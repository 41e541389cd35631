/// An answer taken apart: brackets and elements.
struct AnswerStructure {
  /// The bracket around the whole, if one pair encloses it.
  var open: UInt8?
  var close: UInt8?
  /// At least one.
  var elements: [AnswerText]

  var isRound: Bool { open == UInt8(ascii: "(") && close == UInt8(ascii: ")") }
  /// Sets and bare lists have no order.
  var isOrdered: Bool { open != nil && open != AnswerText.openSet }

  init(single text: AnswerText) { elements = [text] }

  init(_ text: AnswerText) {
    var bytes = text.bytes[...]
    if let first = bytes.first, let last = bytes.last, Self.opens(first), Self.closes(last), Self.isEnclosed(bytes) {
      open = first
      close = last
      bytes = bytes.dropFirst().dropLast()
    }
    elements = []
    var level = 0
    var start = bytes.startIndex
    for index in bytes.indices {
      let byte = bytes[index]
      if Self.opens(byte) || byte == UInt8(ascii: "{") { level += 1 }
      if Self.closes(byte) || byte == UInt8(ascii: "}") { level -= 1 }
      if level == 0, byte == UInt8(ascii: ",") || byte == AnswerText.separator {
        elements.append(Self.element(bytes[start..<index]))
        start = index + 1
      }
    }
    elements.append(Self.element(bytes[start...]))
  }

  private static func element(_ bytes: ArraySlice<UInt8>) -> AnswerText {
    AnswerText(bytes: AnswerText.trimmed(Array(bytes)))
  }

  private static func opens(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "(") || byte == UInt8(ascii: "[") || byte == AnswerText.openSet
  }

  private static func closes(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: ")") || byte == UInt8(ascii: "]") || byte == AnswerText.closeSet
  }

  /// Whether the first bracket is closed by the last byte; (1)(2) is not enclosed.
  private static func isEnclosed(_ bytes: ArraySlice<UInt8>) -> Bool {
    var level = 0
    for (offset, byte) in bytes.enumerated() {
      if opens(byte) { level += 1 }
      if closes(byte) { level -= 1 }
      if level == 0 { return offset == bytes.count - 1 }
    }
    return false
  }

  /// Words that are mathematics, not units.
  private static let functions: Set<String> = [
    "pi", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "infty", "pm", "mod", "deg", "ab", "xy",
    "ac",
    "bc", "xyz", "abc",
  ]

  /// A number without the unit behind it ("18 dollars", "864 inches^2"); anything else as it is.
  static func withoutUnits(_ text: AnswerText) -> AnswerText {
    let bytes = text.bytes
    var end = bytes.count
    // A power of the unit.
    if end > 3, bytes[end - 2] == UInt8(ascii: "^"), isLetter(bytes[end - 3]) { end -= 2 }
    var start = end
    while start > 0, isLetter(bytes[start - 1]) || " ./".utf8.contains(bytes[start - 1]) { start -= 1 }
    // "5. m" keeps its point with the number.
    guard start < end, start > 0 else { return text }
    let words = bytes[start..<end].split { !isLetter($0) }.map { String(decoding: $0, as: UTF8.self) }
    guard !words.isEmpty, words.allSatisfy({ $0.utf8.count > 1 && !functions.contains($0.lowercased()) }) else {
      return text
    }
    let head = AnswerText(bytes: AnswerText.trimmed(Array(bytes[..<start])))
    guard !head.bytes.contains(AnswerText.separator), NumericValue.parse(head.compact) != nil else { return text }
    return head
  }

  /// The right-hand side of `x = ...`, `f(x) = ...` or `x \in ...`; `nil` when there is no such left-hand side.
  static func withoutVariable(_ text: AnswerText) -> AnswerText? {
    let bytes = text.bytes
    let equals = bytes.indices.filter { bytes[$0] == UInt8(ascii: "=") }
    let cut: (left: Int, right: Int)
    if equals.count == 1, equals[0] > 0, !"<>!".utf8.contains(bytes[equals[0] - 1]) {
      cut = (equals[0], equals[0] + 1)
    } else if equals.isEmpty,
      let index = bytes.indices.prefix(12).first(where: { bytes[$0...].starts(with: "\\in ".utf8) })
    {
      cut = (index, index + 4)
    } else {
      return nil
    }
    let left = bytes[..<cut.left].filter { $0 != UInt8(ascii: " ") }
    guard let first = left.first, isLetter(first) else { return nil }
    let isName = left.count <= 2 || (left.count == 4 && left[1] == UInt8(ascii: "(") && left[3] == UInt8(ascii: ")"))
    let value = AnswerText.trimmed(Array(bytes[cut.right...]))
    return isName && !value.isEmpty ? AnswerText(bytes: value) : nil
  }
}
