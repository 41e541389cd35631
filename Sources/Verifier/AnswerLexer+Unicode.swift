import ExactArithmetic

/// Signs outside ASCII.
extension AnswerLexer {
  mutating func sign() {
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
