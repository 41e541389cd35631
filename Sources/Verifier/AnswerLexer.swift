import ExactArithmetic

/// Reads LaTeX, Unicode and plain text into tokens; linear in the length of the text.
struct AnswerLexer {
  enum Context {
    /// The whole text is one answer in mathematics: a box, a reference.
    case mathematics
    /// The text is prose with mathematics in `$` or `\(`; it ends with the sentence.
    case sentence
  }

  let text: ArraySlice<UInt8>
  let context: Context
  var at: Int
  var tokens: [AnswerToken] = []
  var spaceBefore = false
  /// Ends of open `\text{` groups and the like: brace depth at which text mode ends.
  var textDepths: [Int] = []
  var depth = 0
  var environments = 0
  var brackets = 0
  /// Whether a sentence is inside `$...$`, `\(...\)` or `\[...\]`.
  var isInMathematics = false
  var isFinished = false

  /// Tokens of `text`; in a sentence, those up to its end, whose offset is `end`.
  static func tokens(_ text: ArraySlice<UInt8>, _ context: Context) -> (tokens: [AnswerToken], end: Int) {
    var lexer = AnswerLexer(text: text, context: context)
    while lexer.at < text.endIndex, !lexer.isFinished { lexer.step() }
    return (lexer.tokens, lexer.at)
  }

  private init(text: ArraySlice<UInt8>, context: Context) {
    self.text = text
    self.context = context
    at = text.startIndex
  }

  var isText: Bool {
    !textDepths.isEmpty || (context == .sentence && !isInMathematics)
  }
  var isProse: Bool { context == .sentence && !isInMathematics && textDepths.isEmpty }

  func byte(_ index: Int) -> UInt8 { index < text.endIndex && index >= text.startIndex ? text[index] : 0 }

  mutating func emit(_ kind: AnswerToken.Kind, _ string: String = "") {
    tokens.append(AnswerToken(kind: kind, text: string, spaceBefore: spaceBefore, isText: isText))
    spaceBefore = false
  }

  mutating func mark(_ mark: AnswerToken.Mark, width: Int = 1) {
    switch mark {
    case .openRound, .openSquare, .openSet: brackets += 1
    case .closeRound, .closeSquare, .closeSet: brackets = max(0, brackets - 1)
    default: break
    }
    emit(.mark(mark))
    at += width
  }

  mutating func skip(_ width: Int = 1) {
    at += width
    spaceBefore = true
  }

  private mutating func step() {
    let current = byte(at)
    if isDigit(current) || (current == UInt8(ascii: ".") && isDigit(byte(at + 1))) { return number() }
    if isLetter(current) { return letters() }
    if current >= 0x80 { return sign() }
    if isSpace(current) { return space(current) }
    switch current {
    case UInt8(ascii: "\\"): command()
    // 12{:}30: braces that only change the space around a colon.
    case UInt8(ascii: "{") where byte(at + 1) == UInt8(ascii: ":") && byte(at + 2) == UInt8(ascii: "}"):
      mark(.colon, width: 3)
    case UInt8(ascii: "{"):
      depth += 1
      mark(.openBrace)
    case UInt8(ascii: "}"): closeBrace()
    case UInt8(ascii: "$"): dollar()
    case UInt8(ascii: "("): mark(.openRound)
    case UInt8(ascii: ")"): mark(.closeRound)
    case UInt8(ascii: "["): mark(.openSquare)
    case UInt8(ascii: "]"): mark(.closeSquare)
    case UInt8(ascii: "|"): mark(.bar)
    case UInt8(ascii: "+"): mark(.plus)
    case UInt8(ascii: "-"): hyphen()
    case UInt8(ascii: "*"): star()
    case UInt8(ascii: "/"): mark(.divide)
    case UInt8(ascii: "^"): caret()
    case UInt8(ascii: "_"): underscore()
    case UInt8(ascii: ","): mark(.comma)
    case UInt8(ascii: ";"): mark(.semicolon)
    // A smile says nothing.
    case UInt8(ascii: ":")
    where isProse && !tokens.isEmpty && ")D".utf8.contains(byte(at + 1)) && !isLetter(byte(at + 2)):
      skip(2)
    case UInt8(ascii: ":"): byte(at + 1) == UInt8(ascii: "=") ? mark(.equal, width: 2) : mark(.colon)
    case UInt8(ascii: "="): equals()
    case UInt8(ascii: "<"): lessThan()
    case UInt8(ascii: ">"): byte(at + 1) == UInt8(ascii: "=") ? mark(.greaterEqual, width: 2) : mark(.greater)
    case UInt8(ascii: "!"): exclamation()
    case UInt8(ascii: "?"):
      let ends = isProse
      mark(.question)
      isFinished = ends
    case UInt8(ascii: "%"): mark(.percent)
    case UInt8(ascii: "&"): mark(.ampersand)
    case UInt8(ascii: "."): period()
    case UInt8(ascii: "'"): isProse ? skip() : mark(.prime)
    default: skip()
    }
  }

  mutating func number() {
    guard let (literal, end) = NumberLiteral.read(text, from: at, commasGroup: brackets == 0) else { return skip() }
    // "10.5.3", "192.168": no number.
    emit(.number(literal), String(decoding: text[at..<end], as: UTF8.self))
    at = end
  }

  mutating func letters() {
    let start = at
    while isLetter(byte(at)) || (isText && byte(at) >= 0xC3 && byte(at) < 0xCE) {
      at += byte(at) >= 0x80 ? 2 : 1
    }
    at = min(at, text.endIndex)
    // A contraction or a compound word stays one word in prose.
    if isText, at - start > 1 {
      while byte(at) == UInt8(ascii: "'") && isLetter(byte(at + 1)) {
        at += 1
        while isLetter(byte(at)) { at += 1 }
      }
    }
    let name = String(decoding: text[start..<at], as: UTF8.self)
    if name.utf8.count > 1, AnswerNames.plain.contains(name) {
      emit(.name, AnswerNames.spellings[name] ?? name)
      return
    }
    // sqrt3, pir: a known name joined to letters is left as a word.
    emit(.word, name)
  }

  private mutating func space(_ current: UInt8) {
    if current == UInt8(ascii: "\n"), isProse, depth == 0, environments == 0, !tokens.isEmpty {
      isFinished = true
      return
    }
    skip()
  }

  private mutating func closeBrace() {
    if depth == 0 {
      // A stray brace ends a sentence's mathematics no more than it opens any.
      skip()
      return
    }
    depth -= 1
    // The braces around text are no group: its words stand beside the mathematics.
    if textDepths.last == depth {
      textDepths.removeLast()
      return skip()
    }
    mark(.closeBrace)
  }

  private mutating func dollar() {
    let isDouble = byte(at + 1) == UInt8(ascii: "$")
    if context == .sentence, textDepths.isEmpty {
      if isInMathematics {
        isInMathematics = false
        return skip(isDouble ? 2 : 1)
      }
      if isDouble || opensMathematics() {
        isInMathematics = true
        return skip(isDouble ? 2 : 1)
      }
      return mark(.dollars)
    }
    // In a box: one dollar before a number is money, a pair encloses mathematics.
    let isMoney = isDigit(byte(at + 1)) && !text[(at + 1)...].prefix(200).contains(UInt8(ascii: "$"))
    isMoney && tokens.isEmpty ? mark(.dollars) : skip(isDouble ? 2 : 1)
  }

  /// Whether the dollar here has a partner: one that follows no space (unless this one precedes one) and precedes no digit.
  private func opensMathematics() -> Bool {
    let isSpaced = isSpace(byte(at + 1))
    var index = at + 1
    let limit = min(text.endIndex, at + 600)
    while index < limit {
      if byte(index) == UInt8(ascii: "\\") {
        index += 2
        continue
      }
      if byte(index) == UInt8(ascii: "\n"), byte(index + 1) == UInt8(ascii: "\n") { return false }
      if byte(index) == UInt8(ascii: "$") {
        if isSpace(byte(index - 1)), !isSpaced { return false }
        if isDigit(byte(index + 1)) { return false }
        return true
      }
      index += 1
    }
    return false
  }

  private mutating func hyphen() {
    // ->, --, and the hyphen of a compound word.
    if byte(at + 1) == UInt8(ascii: ">") { return mark(.arrow, width: 2) }
    if isText, isLetter(byte(at - 1)), isLetter(byte(at + 1)), isLetter(byte(at + 2)) { return skip() }
    if byte(at + 1) == UInt8(ascii: "-") {
      var end = at
      while byte(end) == UInt8(ascii: "-") { end += 1 }
      if isProse, !tokens.isEmpty { isFinished = true }
      return skip(end - at)
    }
    mark(.minus)
  }

  private mutating func equals() {
    switch byte(at + 1) {
    case UInt8(ascii: ">"): mark(.arrow, width: 2)
    case UInt8(ascii: "="): mark(.equal, width: 2)
    case UInt8(ascii: "<"): mark(.lessEqual, width: 2)
    default: mark(.equal)
    }
  }

  private mutating func lessThan() {
    let next = byte(at + 1)
    if next == UInt8(ascii: "=") { return mark(.lessEqual, width: 2) }
    // <<9*2=18>>: GSM8K's calculator notes.
    if next == UInt8(ascii: "<") {
      let limit = min(text.endIndex, at + 200)
      if let close = text[at..<limit].firstIndex(of: UInt8(ascii: ">")), byte(close + 1) == UInt8(ascii: ">") {
        return skip(close + 2 - at)
      }
    }
    if let width = formattingTag() { return skip(width) }
    // A special token or a tag ends what is read.
    if next == UInt8(ascii: "|") || next == UInt8(ascii: "/") || (isLetter(next) && isTag()) {
      isFinished = true
      return
    }
    mark(.less)
  }

  private static let formatting: Set<String> = [
    "b", "i", "u", "em", "strong", "code", "mark", "span", "p", "br", "sub",
  ]

  /// The width of a tag that only formats: `<b>`, `</strong>`, `<br/>`.
  private func formattingTag() -> Int? {
    var index = at + (byte(at + 1) == UInt8(ascii: "/") ? 2 : 1)
    let start = index
    while isLetter(byte(index)), index - start < 8 { index += 1 }
    guard index > start, Self.formatting.contains(String(decoding: text[start..<index], as: UTF8.self)) else {
      return nil
    }
    while byte(index) == UInt8(ascii: " ") || byte(index) == UInt8(ascii: "/"), index - start < 12 { index += 1 }
    return byte(index) == UInt8(ascii: ">") ? index + 1 - at : nil
  }

  private func isTag() -> Bool {
    var index = at + 1
    while isLetter(byte(index)) || byte(index) == UInt8(ascii: "_"), index - at < 24 { index += 1 }
    return byte(index) == UInt8(ascii: ">") && index - at > 2
  }

  private mutating func exclamation() {
    if byte(at + 1) == UInt8(ascii: "="), byte(at + 2) != UInt8(ascii: "=") { return mark(.notEqual, width: 2) }
    if isProse || !textDepths.isEmpty {
      skip()
      if isProse, isSpace(byte(at)) || at >= text.endIndex, !tokens.isEmpty { isFinished = true }
      return
    }
    mark(.factorial)
  }

  private mutating func period() {
    if byte(at + 1) == UInt8(ascii: "."), byte(at + 2) == UInt8(ascii: ".") {
      let ends = isProse && !tokens.isEmpty && tokens.last?.number == nil
      mark(.ellipsis, width: 3)
      isFinished = ends
      return
    }
    let next = byte(at + 1)
    if isProse, !tokens.isEmpty, next == 0 || isSpace(next) || "\"'`*$)<".utf8.contains(next) || next >= 0x80 {
      // The full stop of an abbreviation ends nothing: "approx. 5", "sq. ft.".
      if let last = tokens.last, last.kind == .word, AnswerWords.abbreviations.contains(last.text.lowercased()) {
        return skip()
      }
      isFinished = true
      return
    }
    mark(.period)
  }

  private func endsOperand(_ index: Int) -> Bool {
    let before = byte(index)
    return isDigit(before) || isLetter(before) || before == UInt8(ascii: ")") || before == UInt8(ascii: "}")
  }

  private mutating func star() {
    let next = byte(at + 1)
    let isDouble = next == UInt8(ascii: "*")
    let after = byte(at + (isDouble ? 2 : 1))
    let begins =
      isDigit(after) || isLetter(after) || after == UInt8(ascii: "(") || after == UInt8(ascii: "\\")
      || after == UInt8(ascii: "-")
    if isDouble {
      if at > text.startIndex, endsOperand(at - 1), begins { return mark(.power, width: 2) }
      return skip(2)
    }
    let hasOperand = tokens.last.map { !$0.isMark(.openRound) } ?? false
    if at > text.startIndex, endsOperand(at - 1), begins { return mark(.times) }
    if hasOperand, isSpace(byte(at - 1)), isSpace(after) { return mark(.times) }
    if !isProse, hasOperand, begins || isSpace(after) { return mark(.times) }
    skip()
  }

  private mutating func caret() {
    var index = at + 1
    while isSpace(byte(index)) { index += 1 }
    let isGroup = byte(index) == UInt8(ascii: "{")
    if isGroup { index += 1 }
    while isSpace(byte(index)) { index += 1 }
    for name in ["\\circ", "\\degree", "°", "o}"] where text[min(index, text.endIndex)...].starts(with: name.utf8) {
      if name == "o}", !isGroup { continue }
      var end = index + (name == "o}" ? 1 : name.utf8.count)
      if isLetter(byte(end)) { break }
      while isGroup, isSpace(byte(end)) { end += 1 }
      guard !isGroup || byte(end) == UInt8(ascii: "}") else { break }
      return mark(.degree, width: (isGroup ? end + 1 : end) - at)
    }
    mark(.power)
  }

  private mutating func underscore() {
    let next = byte(at + 1)
    let begins = isDigit(next) || isLetter(next) || next == UInt8(ascii: "{") || next == UInt8(ascii: "\\")
    at > text.startIndex && endsOperand(at - 1) && begins ? mark(.subscripted) : skip()
  }
}
