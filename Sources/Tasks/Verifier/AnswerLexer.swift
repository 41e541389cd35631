/// Reads LaTeX, Unicode and plain text into tokens; linear in the length of the text.
struct AnswerLexer {
  enum Context {
    /// The whole text is one answer in mathematics: a box, a reference.
    case mathematics
    /// The text is prose with mathematics in `$` or `\(`; it ends with the sentence.
    case sentence
  }

  private let text: ArraySlice<UInt8>
  private let context: Context
  private(set) var at: Int
  private var tokens: [AnswerToken] = []
  private var spaceBefore = false
  /// Ends of open `\text{` groups and the like: brace depth at which text mode ends.
  private var textDepths: [Int] = []
  private var depth = 0
  private var environments = 0
  private var brackets = 0
  /// Whether a sentence is inside `$...$`, `\(...\)` or `\[...\]`.
  private var isInMathematics = false
  private var isFinished = false

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

  private var isText: Bool {
    !textDepths.isEmpty || (context == .sentence && !isInMathematics)
  }
  private var isProse: Bool { context == .sentence && !isInMathematics && textDepths.isEmpty }

  private func byte(_ index: Int) -> UInt8 { index < text.endIndex && index >= text.startIndex ? text[index] : 0 }

  private mutating func emit(_ kind: AnswerToken.Kind, _ string: String = "") {
    tokens.append(AnswerToken(kind: kind, text: string, spaceBefore: spaceBefore, isText: isText))
    spaceBefore = false
  }

  private mutating func mark(_ mark: AnswerToken.Mark, width: Int = 1) {
    switch mark {
    case .openRound, .openSquare, .openSet: brackets += 1
    case .closeRound, .closeSquare, .closeSet: brackets = max(0, brackets - 1)
    default: break
    }
    emit(.mark(mark))
    at += width
  }

  private mutating func skip(_ width: Int = 1) {
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

  private mutating func number() {
    guard let (literal, end) = NumberLiteral.read(text, from: at, commasGroup: brackets == 0) else { return skip() }
    // "10.5.3", "192.168": no number.
    emit(.number(literal), String(decoding: text[at..<end], as: UTF8.self))
    at = end
  }

  private mutating func letters() {
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

  private mutating func sign() {
    var iterator = text[at...].prefix(4).makeIterator()
    var decoder = UTF8()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return skip() }
    let width = UTF8.width(scalar)
    switch AnswerNames.signs[scalar.value] {
    case .mark(let found):
      mark(found, width: width)
    case .name(let name):
      emit(.name, name)
      at += width
    case .raised(let digits): script(.power, digits, width, raised: true)
    case .lowered(let digits): script(.subscripted, digits, width, raised: false)
    case .fraction(let top, let bottom):
      var literal = NumberLiteral(
        value: try? ExactRational(Int128(top), over: Int128(bottom)), digits: "\(top)/\(bottom)", isWhole: false)
      literal.isFraction = true
      emit(.number(literal), "\(top)/\(bottom)")
      at += width
    case .ascii(let character):
      if let value = character.utf8.first, isDigit(value) {
        fullWidthNumber()
      } else {
        emit(.word, character)
        at += width
      }
    case .space: skip(width)
    case .end:
      skip(width)
      if isProse, !tokens.isEmpty { isFinished = true }
    case nil:
      guard scalar.properties.isAlphabetic else { return skip(width) }
      let start = at
      at += width
      while byte(at) >= 0x80 {
        var rest = text[at...].prefix(4).makeIterator()
        guard case .scalarValue(let next) = decoder.decode(&rest), AnswerNames.signs[next.value] == nil,
          next.properties.isAlphabetic
        else { break }
        at += UTF8.width(next)
      }
      while isLetter(byte(at)) { at += 1 }
      emit(.word, String(decoding: text[start..<at], as: UTF8.self))
      if !isText { tokens[tokens.count - 1].isText = true }
    }
  }

  /// Digits in the full-width forms of East Asian text.
  private mutating func fullWidthNumber() {
    var digits: [UInt8] = []
    while byte(at) == 0xEF, byte(at + 1) == 0xBC, byte(at + 2) >= 0x90, byte(at + 2) <= 0x99 {
      digits.append(byte(at + 2) - 0x90 + 0x30)
      at += 3
    }
    guard let (literal, _) = NumberLiteral.read(digits[...], from: 0, commasGroup: false) else { return }
    emit(.number(literal), String(decoding: digits, as: UTF8.self))
  }

  /// Raised or lowered digits, all of a run at once: `²`, `¹⁰`.
  private mutating func script(_ kind: AnswerToken.Mark, _ first: String, _ width: Int, raised: Bool) {
    var digits = first
    at += width
    while byte(at) >= 0x80 {
      var iterator = text[at...].prefix(4).makeIterator()
      var decoder = UTF8()
      guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { break }
      if raised, case .raised(let more) = AnswerNames.signs[scalar.value] {
        digits += more
      } else if !raised, case .lowered(let more) = AnswerNames.signs[scalar.value] {
        digits += more
      } else {
        break
      }
      at += UTF8.width(scalar)
    }
    emit(.mark(kind))
    emit(.mark(.openBrace))
    let isNegative = digits.hasPrefix("-")
    if isNegative { emit(.mark(.minus)) }
    let bytes = Array(digits.utf8.drop { $0 == UInt8(ascii: "-") })
    if let (literal, end) = NumberLiteral.read(bytes[...], from: 0, commasGroup: false), end == bytes.count {
      emit(.number(literal), digits)
    } else {
      emit(.word, "n")
    }
    emit(.mark(.closeBrace))
  }
}

extension AnswerLexer {
  /// A backslash and what follows.
  private mutating func command() {
    let next = byte(at + 1)
    guard isLetter(next) else { return controlSymbol(next) }
    var end = at + 1
    while isLetter(byte(end)) { end += 1 }
    let name = String(decoding: text[(at + 1)..<end], as: UTF8.self)
    if let mark = AnswerNames.marks[name] { return self.mark(mark, width: end - at) }
    if name == "begin" || name == "end" { return environment(name == "begin", end) }
    at = end
    if AnswerNames.ignored.contains(name) {
      // \left. is an empty bracket.
      if name == "left" || name == "right", byte(at) == UInt8(ascii: ".") { at += 1 }
      spaceBefore = true
      return
    }
    if AnswerNames.spaces.contains(name) {
      if name == "hspace" || name == "phantom" { skipGroup() }
      spaceBefore = true
      return
    }
    if name == "color" { return skipGroup() }
    if name == "textcolor" || name == "colorbox" { return skipGroup() }
    if name == "hfill" || name == "label" || name == "tag" { return name == "hfill" ? () : skipGroup() }
    if AnswerNames.text.contains(name) { return openText() }
    if AnswerNames.upright.contains(name) { return openUpright() }
    if AnswerNames.fonts.contains(name) { return }
    let spelled = AnswerNames.spellings[name] ?? name
    if AnswerNames.functions.contains(spelled) || AnswerNames.letters.contains(spelled)
      || AnswerNames.structures.contains(spelled)
    {
      return emit(.name, spelled)
    }
    if name == "textdollar" { return emit(.mark(.dollars)) }
    // An unknown command makes what holds it unreadable, but still comparable by its spelling.
    emit(.mark(.unknown), name)
  }

  private mutating func controlSymbol(_ next: UInt8) {
    switch next {
    case UInt8(ascii: "{"): mark(.openSet, width: 2)
    case UInt8(ascii: "}"): mark(.closeSet, width: 2)
    case UInt8(ascii: "$"): mark(.dollars, width: 2)
    case UInt8(ascii: "%"): mark(.percent, width: 2)
    case UInt8(ascii: "&"): skip(2)
    case UInt8(ascii: "|"): mark(.bar, width: 2)
    case UInt8(ascii: "\\"):
      mark(.newRow, width: 2)
      if byte(at) == UInt8(ascii: "*") { at += 1 }
      // \\[4pt]
      if byte(at) == UInt8(ascii: "[") {
        var end = at + 1
        while end - at < 12, isDigit(byte(end)) || isLetter(byte(end)) || ".- ".utf8.contains(byte(end)) { end += 1 }
        if byte(end) == UInt8(ascii: "]"), isLetter(byte(end - 1)) { at = end + 1 }
      }
    case UInt8(ascii: "("), UInt8(ascii: "["):
      if context == .sentence { isInMathematics = true }
      skip(2)
    case UInt8(ascii: ")"), UInt8(ascii: "]"):
      if context == .sentence { isInMathematics = false }
      skip(2)
    case UInt8(ascii: "!"):
      // A negative space joins: what follows belongs to the number before.
      at += 2
    default: skip(next == 0 ? 1 : 2)
    }
  }

  private mutating func environment(_ isBegin: Bool, _ end: Int) {
    at = end
    while isSpace(byte(at)) { at += 1 }
    guard byte(at) == UInt8(ascii: "{") else { return }
    let start = at + 1
    skipGroup()
    let name = String(decoding: text[min(start, at)..<max(start, at - 1)].prefix(24), as: UTF8.self)
    if name.contains("matrix") || name == "array" || name == "cases" || name == "tabular" {
      environments = max(0, environments + (isBegin ? 1 : -1))
      // The column specification of an array.
      if isBegin, name == "array" || name == "tabular" {
        while isSpace(byte(at)) { at += 1 }
        if byte(at) == UInt8(ascii: "{") { skipGroup() }
      }
      emit(.mark(isBegin ? .beginMatrix : .endMatrix))
    } else if context == .sentence, name.hasPrefix("align") || name.hasPrefix("equation") || name.hasPrefix("gather") {
      isInMathematics = isBegin
      spaceBefore = true
    }
  }

  /// Passes over one `{...}` without reading it.
  private mutating func skipGroup() {
    while isSpace(byte(at)) { at += 1 }
    guard byte(at) == UInt8(ascii: "{") else { return }
    var level = 0
    let limit = min(text.endIndex, at + 200)
    var index = at
    while index < limit {
      if byte(index) == UInt8(ascii: "{") { level += 1 }
      if byte(index) == UInt8(ascii: "}") {
        level -= 1
        if level == 0 {
          at = index + 1
          return
        }
      }
      index += 1
    }
  }

  private mutating func openText() {
    while isSpace(byte(at)) { at += 1 }
    guard byte(at) == UInt8(ascii: "{") else { return }
    textDepths.append(depth)
    depth += 1
    skip()
  }

  /// One upright letter is a constant or variable, several are a unit or a word.
  private mutating func openUpright() {
    while isSpace(byte(at)) { at += 1 }
    guard byte(at) == UInt8(ascii: "{") else { return }
    var index = at + 1
    while isSpace(byte(index)) { index += 1 }
    let letter = byte(index)
    index += 1
    while isSpace(byte(index)) { index += 1 }
    if byte(index) == UInt8(ascii: "}"), letter == UInt8(ascii: "i") || letter == UInt8(ascii: "e") {
      emit(.word, String(decoding: [letter], as: UTF8.self))
      at = index + 1
      return
    }
    openText()
  }
}
