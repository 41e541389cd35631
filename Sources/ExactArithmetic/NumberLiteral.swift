/// A number as written.
package struct NumberLiteral: Equatable {
  /// `nil` when it does not fit 128 bits.
  package var value: ExactRational?
  /// Digits without leading and trailing zeros: decides equality where there is no value.
  package var digits: String
  /// Neither a decimal point nor an exponent.
  package var isWhole: Bool
  /// A single Unicode sign such as ½.
  package var isFraction: Bool

  package init(value: ExactRational?, digits: String, isWhole: Bool, isFraction: Bool = false) {
    self.value = value
    self.digits = digits
    self.isWhole = isWhole
    self.isFraction = isFraction
  }
}

extension NumberLiteral {
  /// Reads the number that begins at `start`, `nil` when none does. Thousands separators (`1,234`, `1{,}234`, `1\,234`,
  /// `1,\! 234`, `1 234`) join groups of three digits; a plain comma does so only where `commasGroup`.
  package static func read(_ text: ArraySlice<UInt8>, from start: Int, commasGroup: Bool)
    -> (literal: NumberLiteral, end: Int)?
  {
    var reader = NumberReader(text: text, at: start)
    return reader.read(commasGroup: commasGroup)
  }
}

private struct NumberReader {
  package let text: ArraySlice<UInt8>
  package var at: Int
  /// Powers of ten beyond this do not fit 128 bits.
  private static let maximumExponent = 38

  private func byte(_ index: Int) -> UInt8 { index < text.endIndex ? text[index] : 0 }

  package mutating func read(commasGroup: Bool) -> (literal: NumberLiteral, end: Int)? {
    var whole: [UInt8] = []
    takeDigits(into: &whole)
    if (1...3).contains(whole.count) { takeGroups(into: &whole, commasGroup: commasGroup) }
    var fraction: [UInt8] = []
    var repeating: [UInt8] = []
    var isWhole = true
    if byte(at) == UInt8(ascii: "."), isDigit(byte(at + 1)) || (!whole.isEmpty && repeats(at + 1)) {
      isWhole = false
      at += 1
      takeDigits(into: &fraction)
      takeRepeating(into: &repeating)
    }
    guard !whole.isEmpty || !fraction.isEmpty || !repeating.isEmpty else { return nil }
    var exponent = 0
    var isRepresentable = true
    if byte(at) | 0x20 == UInt8(ascii: "e"), let power = scientificExponent() {
      isWhole = false
      if abs(power) > Self.maximumExponent { isRepresentable = false }
      exponent = power
    }
    let literal = Self.literal(
      whole, fraction, repeating, exponent, isWhole: isWhole, isRepresentable: isRepresentable)
    return (literal, at)
  }

  private mutating func takeDigits(into digits: inout [UInt8]) {
    while isDigit(byte(at)) {
      digits.append(byte(at))
      at += 1
    }
  }

  private func threeDigits(_ index: Int) -> Bool {
    isDigit(byte(index)) && isDigit(byte(index + 1)) && isDigit(byte(index + 2)) && !isDigit(byte(index + 3))
  }

  private mutating func takeGroups(into digits: inout [UInt8], commasGroup: Bool) {
    while true {
      var next = at
      switch byte(at) {
      case UInt8(ascii: ",") where commasGroup:
        next += 1
        // A negative space: 10,\! 080.
        if byte(next) == UInt8(ascii: "\\"), byte(next + 1) == UInt8(ascii: "!") {
          next += 2
          while byte(next) == UInt8(ascii: " ") { next += 1 }
        }
      case UInt8(ascii: "{") where byte(at + 1) == UInt8(ascii: ",") && byte(at + 2) == UInt8(ascii: "}"): next += 3
      case UInt8(ascii: "\\") where ",;: ".utf8.contains(byte(at + 1)): next += 2
      case UInt8(ascii: " "), UInt8(ascii: "~"): next += 1
      default: return
      }
      guard threeDigits(next), byte(next + 3) != UInt8(ascii: "/") || byte(at) == UInt8(ascii: ",") else { return }
      at = next
      takeDigits(into: &digits)
    }
  }

  private static let bars = ["\\overline", "\\bar", "\\dot"].map { Array($0.utf8) }

  private func repeats(_ index: Int) -> Bool {
    Self.bars.contains { text[min(index, text.endIndex)...].starts(with: $0) }
      || (byte(index) == UInt8(ascii: "(") && isDigit(byte(index + 1)))
  }

  private mutating func takeRepeating(into digits: inout [UInt8]) {
    guard repeats(at) else { return }
    var index = at
    var close: UInt8 = 0
    if byte(index) == UInt8(ascii: "(") {
      close = UInt8(ascii: ")")
      index += 1
    } else {
      index += 1
      while isLetter(byte(index)) { index += 1 }
      while byte(index) == UInt8(ascii: " ") { index += 1 }
      if byte(index) == UInt8(ascii: "{") {
        close = UInt8(ascii: "}")
        index += 1
      }
    }
    var found: [UInt8] = []
    while isDigit(byte(index)), close != 0 || found.isEmpty {
      found.append(byte(index))
      index += 1
    }
    guard !found.isEmpty, close == 0 || byte(index) == close else { return }
    at = close == 0 ? index : index + 1
    digits = found
  }

  /// `e5`, `E-3`; the position is kept when no digits follow.
  private mutating func scientificExponent() -> Int? {
    var index = at + 1
    let isNegative = byte(index) == UInt8(ascii: "-")
    if isNegative || byte(index) == UInt8(ascii: "+") { index += 1 }
    guard isDigit(byte(index)) else { return nil }
    var value = 0
    while isDigit(byte(index)) {
      value = min(100_000, value * 10 + Int(byte(index) - 0x30))
      index += 1
    }
    if isLetter(byte(index)) { return nil }
    at = index
    return isNegative ? -value : value
  }

  private static func literal(
    _ whole: [UInt8], _ fraction: [UInt8], _ repeating: [UInt8], _ exponent: Int, isWhole: Bool, isRepresentable: Bool
  ) -> NumberLiteral {
    let integer = whole.drop { $0 == 0x30 }
    var decimals = fraction[...]
    if repeating.isEmpty { while decimals.last == 0x30 { decimals.removeLast() } }
    var value: ExactRational?
    if isRepresentable, integer.count + decimals.count + repeating.count <= 37 {
      value = try? exact(Array(integer + decimals), decimals.count, repeating, exponent)
    }
    var digits = String(decoding: integer.isEmpty ? [0x30] : Array(integer), as: UTF8.self)
    if !decimals.isEmpty || !repeating.isEmpty { digits += "." + String(decoding: decimals, as: UTF8.self) }
    if !repeating.isEmpty { digits += "(" + String(decoding: repeating, as: UTF8.self) + ")" }
    if exponent != 0 { digits += "e\(exponent)" }
    return NumberLiteral(value: value, digits: digits, isWhole: isWhole)
  }

  private static func exact(_ digits: [UInt8], _ decimals: Int, _ repeating: [UInt8], _ exponent: Int)
    throws(Unreadable) -> ExactRational
  {
    func integer(_ digits: [UInt8]) -> Int128 { digits.reduce(0) { $0 * 10 + Int128($1 - 0x30) } }
    let ten = ExactRational(10)
    var value = ExactRational(integer: integer(digits))
    if !repeating.isEmpty {
      let nines = try ten.power(repeating.count).plus(.minusOne)
      value = try value.plus(ExactRational(integer: integer(repeating)).divided(by: nines))
    }
    return try value.times(ten.power(exponent - decimals))
  }
}
