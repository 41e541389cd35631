import ExactArithmetic

/// LaTeX commands: fonts and sizes are dropped, text is marked, names and signs become tokens.
extension AnswerLexer {
  /// A backslash and what follows.
  mutating func command() {
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
