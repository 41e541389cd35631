/// A Python string: a sequence of code points. Each carries one bit more, the mark of characters that came from the
/// contents of a conversation; it follows them through every operation and never changes what an operation does.
package struct Text: Sendable {
  /// The bit of a marked character, beside its code point.
  package static let mark: UInt32 = 0x8000_0000
  package static let codeBits: UInt32 = 0x7FFF_FFFF

  package var units: [UInt32]
  /// Whether it is `markupsafe.Markup`, the result of the filters `safe` and `escape`.
  package var isMarkup = false

  package init(units: [UInt32], isMarkup: Bool = false) {
    self.units = units
    self.isMarkup = isMarkup
  }

  package init(units: ArraySlice<UInt32>, isMarkup: Bool = false) { self.init(units: Array(units), isMarkup: isMarkup) }

  package init(_ string: String, marked: Bool = false) {
    let bit = marked ? Self.mark : 0
    units = string.unicodeScalars.map { $0.value | bit }
  }

  package static let empty = Text(units: [])

  package var count: Int { units.count }
  package var isEmpty: Bool { units.isEmpty }

  package func code(_ index: Int) -> UInt32 { units[index] & Self.codeBits }

  /// The code points without marks.
  package var codes: [UInt32] { units.map { $0 & Self.codeBits } }

  /// As a Swift string; halves of surrogate pairs become U+FFFD.
  package var string: String {
    var scalars = String.UnicodeScalarView()
    for unit in units { scalars.append(Unicode.Scalar(unit & Self.codeBits) ?? "\u{FFFD}") }
    return String(scalars)
  }

  package var hasSurrogates: Bool { units.contains { Unicode.Scalar($0 & Self.codeBits) == nil } }

  package subscript(_ range: Range<Int>) -> Text { Text(units: units[range], isMarkup: isMarkup) }
}

extension Text: Hashable {
  package static func == (left: Text, right: Text) -> Bool {
    left.units.count == right.units.count
      && (left.units == right.units
        || zip(left.units, right.units).allSatisfy { ($0 ^ $1) & codeBits == 0 })
  }

  package func hash(into hasher: inout Hasher) {
    for unit in units { hasher.combine(unit & Self.codeBits) }
  }

  /// In the order of code points.
  package static func < (left: Text, right: Text) -> Bool {
    left.units.lexicographicallyPrecedes(right.units) { $0 & codeBits < $1 & codeBits }
  }
}

extension Text: ExpressibleByStringLiteral {
  package init(stringLiteral value: String) { self.init(value) }
}

extension Text {
  /// Places of `part` from `start` on that do not overlap, at most `limit`; an empty part is at every place.
  package func places(of part: Text, from start: Int = 0, limit: Int = .max, _ budget: TemplateBudget) throws -> [Int] {
    var found: [Int] = []
    var index = start
    while found.count < limit, index <= count, let place = try firstPlace(of: part, in: index..<count, budget) {
      found.append(place)
      index = place + max(part.count, 1)
    }
    return found
  }

  package func firstPlace(of part: Text, in range: Range<Int>, _ budget: TemplateBudget) throws -> Int? {
    guard range.count >= part.count else { return nil }
    guard let first = part.units.first.map({ $0 & Self.codeBits }) else { return range.lowerBound }
    var compared = 0
    for index in range.lowerBound...range.upperBound - part.count where code(index) == first {
      var length = 1
      while length < part.count, code(index + length) == part.code(length) { length += 1 }
      if length == part.count { return index }
      compared += length
      if compared > 1 << 16 {
        try budget.step(compared >> 6)
        compared = 0
      }
    }
    return nil
  }

  package func lastPlace(of part: Text, in range: Range<Int>, _ budget: TemplateBudget) throws -> Int? {
    guard range.count >= part.count else { return nil }
    var compared = 0
    var index = range.upperBound - part.count
    while index >= range.lowerBound {
      var length = 0
      while length < part.count, code(index + length) == part.code(length) { length += 1 }
      if length == part.count { return index }
      compared += length
      if compared > 1 << 16 {
        try budget.step(compared >> 6)
        compared = 0
      }
      index -= 1
    }
    return nil
  }

  package func hasPrefix(_ part: Text, at start: Int = 0) -> Bool {
    start >= 0 && start + part.count <= count && (0..<part.count).allSatisfy { code(start + $0) == part.code($0) }
  }

  /// Without characters of `set` at the ends; of white space when it is nil.
  package func stripped(_ set: Text? = nil, left: Bool = true, right: Bool = true) -> Text {
    let members = set.map { Set($0.codes) }
    func drops(_ code: UInt32) -> Bool { members?.contains(code) ?? CharacterClass.isSpace(code) }
    var start = 0
    var end = count
    if left { while start < end, drops(code(start)) { start += 1 } }
    if right { while end > start, drops(code(end - 1)) { end -= 1 } }
    return self[start..<end]
  }

  /// Lines as `str.splitlines`.
  package func lines(keepingEnds: Bool = false) -> [Text] {
    var lines: [Text] = []
    var start = 0
    var index = 0
    while index < count {
      let code = code(index)
      guard CharacterClass.isLineBreak(code) else {
        index += 1
        continue
      }
      let end = code == 0x0D && index + 1 < count && self.code(index + 1) == 0x0A ? index + 2 : index + 1
      lines.append(self[start..<(keepingEnds ? end : index)])
      start = end
      index = end
    }
    if start < count { lines.append(self[start..<count]) }
    return lines
  }
}
