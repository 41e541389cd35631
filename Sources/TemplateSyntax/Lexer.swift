/// Cuts a template into tokens as jinja2 does with `trim_blocks` and `lstrip_blocks` on.
package struct Lexer {
  private let source: [UInt32]
  private var position = 0
  private var line = 1
  private(set) var tokens: [Token] = []
  /// Whether what was read last ended in a line break, or nothing was read yet.
  private var startsLine = true

  package init(_ source: String) {
    var codes: [UInt32] = []
    codes.reserveCapacity(source.utf8.count)
    var wasReturn = false
    for scalar in source.unicodeScalars {
      if scalar.value == 0x0A, wasReturn {
        wasReturn = false
        continue
      }
      wasReturn = scalar.value == 0x0D
      codes.append(wasReturn ? 0x0A : scalar.value)
    }
    if codes.last == 0x0A { codes.removeLast() }
    self.source = codes
  }

  package static func tokens(of source: String) throws -> [Token] {
    var lexer = Lexer(source)
    try lexer.readAll()
    return lexer.tokens
  }

  // MARK: Reading

  private func has(_ text: StaticString, at index: Int) -> Bool {
    guard index + text.utf8CodeUnitCount <= source.count else { return false }
    for offset in 0..<text.utf8CodeUnitCount where source[index + offset] != UInt32(text.utf8Start[offset]) {
      return false
    }
    return true
  }

  private func code(_ index: Int) -> UInt32? { index < source.count ? source[index] : nil }

  private func skippingSpace(from index: Int) -> Int {
    var index = index
    while let code = code(index), CharacterClass.isSpace(code) { index += 1 }
    return index
  }

  private mutating func advance(to end: Int) {
    guard end > position else { return }
    line += source[position..<end].count { $0 == 0x0A }
    startsLine = source[end - 1] == 0x0A
    position = end
  }

  private mutating func add(_ kind: Token.Kind) { tokens.append(Token(kind: kind, line: line)) }

  private mutating func readAll() throws {
    while position < source.count {
      guard let opening = nextOpening(from: position) else {
        add(.data(Text(units: source[position...])))
        position = source.count
        break
      }
      try readMarkup(opening)
    }
    add(.end)
  }

  private func nextOpening(from start: Int) -> Int? {
    var index = start
    while index + 1 < source.count {
      if source[index] == 0x7B {
        let next = source[index + 1]
        if next == 0x25 || next == 0x7B || next == 0x23 { return index }
      }
      index += 1
    }
    return nil
  }

  /// The end of `{% raw %}`, when one begins here.
  private func rawOpening(at index: Int) -> Int? {
    guard has("{%", at: index) else { return nil }
    var end = index + 2
    if let sign = code(end), sign == 0x2D || sign == 0x2B { end += 1 }
    end = skippingSpace(from: end)
    guard has("raw", at: end) else { return nil }
    end = skippingSpace(from: end + 3)
    if has("-%}", at: end) { return skippingSpace(from: end + 3) }
    return has("%}", at: end) ? end + 2 : nil
  }

  /// Text before a tag that begins at `opening`, without what the tag strips off it.
  private mutating func addData(upTo opening: Int, isVariable: Bool) {
    var text = Array(source[position..<opening])
    let sign = code(opening + 2)
    if sign == 0x2D {
      while let last = text.last, CharacterClass.isSpace(last) { text.removeLast() }
    } else if sign != 0x2B, !isVariable {
      let lineStart = (text.lastIndex(of: 0x0A) ?? -1) + 1
      if lineStart > 0 || startsLine, lineStart < text.count, text[lineStart...].allSatisfy(CharacterClass.isSpace) {
        text.removeSubrange(lineStart...)
      }
    }
    if !text.isEmpty { add(.data(Text(units: text))) }
    line += source[position..<opening].count { $0 == 0x0A }
    position = opening
  }

  private mutating func readMarkup(_ opening: Int) throws {
    let isVariable = source[opening + 1] == 0x7B
    let isComment = source[opening + 1] == 0x23
    addData(upTo: opening, isVariable: isVariable)
    if let end = rawOpening(at: opening) {
      let start = line
      advance(to: end)
      try readRaw(from: start)
      return
    }
    let sign = code(opening + 2)
    let start = line
    advance(to: opening + (sign == 0x2D || sign == 0x2B ? 3 : 2))
    if isComment {
      try readComment(from: start)
    } else {
      add(isVariable ? .variableBegin : .blockBegin)
      try readTag(isVariable: isVariable)
    }
  }

  private mutating func readComment(from start: Int) throws {
    var index = position
    while index < source.count {
      // A sign belongs to the end when it stands before it.
      if has("-#}", at: index) { return advance(to: skippingSpace(from: index + 3)) }
      if has("+#}", at: index) { return advance(to: index + 3) }
      if has("#}", at: index) { return advance(to: afterBlock(index + 2)) }
      index += 1
    }
    throw TemplateError.syntax("Missing end of comment tag", line: start)
  }

  private func afterBlock(_ index: Int) -> Int { code(index) == 0x0A ? index + 1 : index }

  private mutating func readRaw(from start: Int) throws {
    var index = position
    while index + 1 < source.count {
      guard has("{%", at: index) else {
        index += 1
        continue
      }
      var end = index + 2
      if let sign = code(end), sign == 0x2D || sign == 0x2B { end += 1 }
      end = skippingSpace(from: end)
      if has("endraw", at: end) {
        end = skippingSpace(from: end + 6)
        let closing: Int? =
          has("+%}", at: end)
          ? end + 3
          : has("-%}", at: end) ? skippingSpace(from: end + 3) : has("%}", at: end) ? afterBlock(end + 2) : nil
        if let closing {
          addData(upTo: index, isVariable: false)
          return advance(to: closing)
        }
      }
      index += 1
    }
    throw TemplateError.syntax("Missing end of raw directive", line: start)
  }

  // MARK: Inside tags

  private mutating func readTag(isVariable: Bool) throws {
    var open: [UInt32] = []
    while position < source.count {
      if open.isEmpty, let end = tagEnd(isVariable: isVariable) {
        add(isVariable ? .variableEnd : .blockEnd)
        advance(to: end)
        return
      }
      let code = source[position]
      if CharacterClass.isSpace(code) {
        advance(to: skippingSpace(from: position))
      } else if try readNumber() || readName() || readString() {
        continue
      } else {
        try readSymbol(&open)
      }
    }
  }

  private func tagEnd(isVariable: Bool) -> Int? {
    if isVariable {
      if has("-}}", at: position) { return skippingSpace(from: position + 3) }
      return has("}}", at: position) ? position + 2 : nil
    }
    if has("+%}", at: position) { return position + 3 }
    if has("-%}", at: position) { return skippingSpace(from: position + 3) }
    return has("%}", at: position) ? afterBlock(position + 2) : nil
  }

  private mutating func readSymbol(_ open: inout [UInt32]) throws {
    for symbol in Self.symbols where has(symbol, at: position) {
      let text = symbol.description
      switch text {
      case "(": open.append(0x29)
      case "[": open.append(0x5D)
      case "{": open.append(0x7D)
      case ")", "]", "}":
        guard let expected = open.popLast() else { throw TemplateError.syntax("unexpected '\(text)'", line: line) }
        guard expected == source[position] else {
          throw TemplateError.syntax(
            "unexpected '\(text)', expected '\(Character(Unicode.Scalar(UInt8(expected))))'", line: line)
        }
      default: break
      }
      add(.symbol(text))
      advance(to: position + symbol.utf8CodeUnitCount)
      return
    }
    throw TemplateError.syntax("unexpected char '\(Text(units: [source[position]]).string)' at \(position)", line: line)
  }

  private static let symbols: [StaticString] = [
    "==", "!=", ">=", "<=", "//", "**", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
  ]

  private mutating func readName() throws -> Bool {
    var end = position
    while let code = code(end), Self.isWord(code) { end += 1 }
    guard end > position else { return false }
    let name = Text(units: source[position..<end])
    guard let first = Unicode.Scalar(source[position]), first == "_" || first.properties.isXIDStart,
      source[position..<end].allSatisfy({ Unicode.Scalar($0)?.properties.isXIDContinue ?? false })
    else { throw TemplateError.syntax("Invalid character in identifier", line: line) }
    add(.name(name.string))
    advance(to: end)
    return true
  }

  private static func isWord(_ code: UInt32) -> Bool {
    if code < 0x80 {
      return code == 0x5F || (0x30...0x39).contains(code) || (0x41...0x5A).contains(code)
        || (0x61...0x7A).contains(code)
    }
    return CharacterClass.isLetter(code) || CharacterClass.isNumeric(code)
      || Unicode.Scalar(code)?.properties.isXIDContinue ?? false
  }

  /// Digits with single underscores between them, from `index`; nil when there are none.
  private func digits(from index: Int, _ isDigit: (UInt32) -> Bool) -> Int? {
    guard let first = code(index), isDigit(first) else { return nil }
    var end = index + 1
    while let next = code(end) {
      if isDigit(next) {
        end += 1
      } else if next == 0x5F, let after = code(end + 1), isDigit(after) {
        end += 2
      } else {
        break
      }
    }
    return end
  }

  private mutating func readNumber() throws -> Bool {
    func isDecimal(_ code: UInt32) -> Bool { (0x30...0x39).contains(code) }
    guard isDecimal(source[position]), let whole = digits(from: position, isDecimal) else { return false }
    if position == 0 || source[position - 1] != 0x2E, let end = floatEnd(whole, isDecimal) {
      let text = Text(units: source[position..<end].filter { $0 != 0x5F })
      guard let value = PythonNumber.float(text) else {
        throw TemplateError.syntax("invalid number \(text.string)", line: line)
      }
      add(.float(value))
      advance(to: end)
      return true
    }
    var end = whole
    let isPrefixed: Bool
    if source[position] == 0x30 {
      let marker = code(position + 1).map { $0 | 0x20 }
      let bases: [(UInt32, (UInt32) -> Bool)] = [
        (0x62, { $0 == 0x30 || $0 == 0x31 }), (0x6F, { (0x30...0x37).contains($0) }),
        (0x78, { isDecimal($0) || (0x61...0x66).contains($0 | 0x20) }),
      ]
      let start = code(position + 2) == 0x5F ? position + 3 : position + 2
      let prefixed = bases.first { $0.0 == marker }.flatMap { digits(from: start, $0.1) }
      isPrefixed = prefixed != nil
      end = prefixed ?? digits(from: position) { $0 == 0x30 } ?? whole
    } else {
      isPrefixed = false
    }
    let text = Text(units: source[position..<end].filter { $0 != 0x5F })
    do {
      guard let value = try PythonNumber.integer(text, base: isPrefixed ? 0 : 10) else {
        throw TemplateError.syntax("invalid number \(text.string)", line: line)
      }
      add(.integer(value))
    } catch var error as TemplateError {
      error.line = line
      throw error
    }
    advance(to: end)
    return true
  }

  private func floatEnd(_ whole: Int, _ isDigit: (UInt32) -> Bool) -> Int? {
    var end = whole
    var isFloat = false
    if code(end) == 0x2E, let fraction = digits(from: end + 1, isDigit) {
      end = fraction
      isFloat = true
    }
    if let marker = code(end), marker | 0x20 == 0x65 {
      var start = end + 1
      if let sign = code(start), sign == 0x2B || sign == 0x2D { start += 1 }
      if let exponent = digits(from: start, isDigit) { return exponent }
    }
    return isFloat ? end : nil
  }

  private mutating func readString() throws -> Bool {
    let quote = source[position]
    guard quote == 0x22 || quote == 0x27 else { return false }
    var end = position + 1
    while let code = code(end), code != quote { end += code == 0x5C ? 2 : 1 }
    guard end < source.count else { return false }
    add(.string(try StringLiteral.text(of: source[position + 1..<end], line: line)))
    advance(to: end + 1)
    return true
  }
}
