/// An exact number read from an answer: an integer, decimal, fraction, mixed number, scientific notation or percentage.
enum NumericValue: Equatable {
  /// Lowest terms, positive denominator.
  case rational(numerator: Int128, denominator: Int128)
  /// A decimal beyond 128 bits: sign, digits without leading zeros, point and fraction without trailing zeros.
  case long(String)

  /// Parses the whole of `text` (ASCII without spaces, as `AnswerText.compact` gives it); linear in its length.
  static func parse(_ text: [UInt8]) -> (value: NumericValue, isPercent: Bool)? {
    var scanner = NumberScanner(text)
    guard let value = scanner.expression() else { return nil }
    let isPercent = scanner.take("%")
    return scanner.isAtEnd ? (value, isPercent) : nil
  }

  /// This value divided by one hundred; `nil` beyond 128 bits.
  var hundredth: NumericValue? {
    guard case .rational(let numerator, let denominator) = self else { return nil }
    return Self.ratio(numerator, by: 100, denominator)
  }

  /// numerator / (factor * denominator), or `nil` on overflow or division by zero.
  private static func ratio(_ numerator: Int128, by factor: Int128, _ denominator: Int128) -> NumericValue? {
    let (product, overflow) = factor.multipliedReportingOverflow(by: denominator)
    guard !overflow else { return nil }
    return ratio(numerator, product)
  }

  static func ratio(_ numerator: Int128, _ denominator: Int128) -> NumericValue? {
    // The most negative value has no magnitude; no answer needs it.
    guard denominator != 0, numerator != .min, denominator != .min else { return nil }
    var (a, b) = (abs(numerator), abs(denominator))
    while b != 0 { (a, b) = (b, a % b) }
    let sign: Int128 = denominator < 0 ? -1 : 1
    return .rational(numerator: sign * numerator / a, denominator: sign * denominator / a)
  }

  /// self / other; `nil` on overflow, division by zero, or for long decimals.
  func divided(by other: NumericValue) -> NumericValue? {
    guard case .rational(let a, let b) = self, case .rational(let c, let d) = other else { return nil }
    let (numerator, first) = a.multipliedReportingOverflow(by: d)
    let (denominator, second) = b.multipliedReportingOverflow(by: c)
    return first || second ? nil : Self.ratio(numerator, denominator)
  }

  func adding(_ other: NumericValue) -> NumericValue? {
    guard case .rational(let a, let b) = self, case .rational(let c, let d) = other else { return nil }
    let (left, first) = a.multipliedReportingOverflow(by: d)
    let (right, second) = c.multipliedReportingOverflow(by: b)
    let (sum, third) = left.addingReportingOverflow(right)
    let (denominator, fourth) = b.multipliedReportingOverflow(by: d)
    return first || second || third || fourth ? nil : Self.ratio(sum, denominator)
  }

  var negated: NumericValue {
    switch self {
    case .rational(let numerator, let denominator): .rational(numerator: -numerator, denominator: denominator)
    case .long(let text): .long(text.hasPrefix("-") ? String(text.dropFirst()) : "-" + text)
    }
  }
}

/// Recursive-descent reader of numbers; every method leaves the position where it began when it fails.
private struct NumberScanner {
  private let text: [UInt8]
  private var at = 0
  /// Powers of ten beyond this do not fit 128 bits.
  private static let maximumExponent = 38

  init(_ text: [UInt8]) { self.text = text }

  var isAtEnd: Bool { at == text.count }

  mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard at < text.count, text[at] == UInt8(ascii: byte) else { return false }
    at += 1
    return true
  }

  /// sign? (decimal mixed-mark decimal / decimal | operand / operand | operand)
  mutating func expression() -> NumericValue? {
    let isNegative = take("-")
    if !isNegative { _ = take("+") }
    guard var value = operand() else { return nil }
    if at < text.count, text[at] == AnswerText.mixedMark {
      at += 1
      guard let numerator = operand(), take("/"), let denominator = operand(),
        let fraction = numerator.divided(by: denominator), let sum = value.adding(fraction)
      else { return nil }
      value = sum
    } else if take("/") {
      guard let denominator = operand(), let quotient = value.divided(by: denominator) else { return nil }
      value = quotient
    }
    return isNegative ? value.negated : value
  }

  /// A decimal, or a signed one in parentheses.
  private mutating func operand() -> NumericValue? {
    guard take("(") else { return decimal() }
    let isNegative = take("-")
    guard let value = decimal(), take(")") else { return nil }
    return isNegative ? value.negated : value
  }

  private mutating func decimal() -> NumericValue? {
    guard var integer = integerDigits() else { return nil }
    var fraction: ArraySlice<UInt8> = []
    if take(".") {
      let start = at
      while at < text.count, isDigit(text[at]) { at += 1 }
      fraction = text[start..<at]
    }
    guard !integer.isEmpty || !fraction.isEmpty else { return nil }
    if fraction.isEmpty, integer == Array("10".utf8), at < text.count, text[at] == UInt8(ascii: "^") {
      guard let power = power(from: at + 1) else { return nil }
      return Self.value([UInt8(ascii: "1")], [], power)
    }
    guard let exponent = exponent() else { return nil }
    if let first = integer.firstIndex(where: { $0 != UInt8(ascii: "0") }) {
      integer.removeFirst(first)
    } else {
      integer = []
    }
    if let last = fraction.lastIndex(where: { $0 != UInt8(ascii: "0") }) {
      fraction = fraction[...last]
    } else {
      fraction = []
    }
    return Self.value(integer, fraction, exponent)
  }

  /// Digits, thousands separators dropped when every group but the first has three; empty before a leading point.
  private mutating func integerDigits() -> [UInt8]? {
    var digits: [UInt8] = []
    let start = at
    while at < text.count, isDigit(text[at]) {
      digits.append(text[at])
      at += 1
    }
    guard (1...3).contains(at - start) else { return digits }
    while at < text.count, text[at] == UInt8(ascii: ",") {
      let group = text[(at + 1)...].prefix(4)
      guard group.prefix(3).count == 3, group.prefix(3).allSatisfy(isDigit),
        group.count == 3 || !isDigit(group[group.startIndex + 3])
      else { return nil }
      digits.append(contentsOf: group.prefix(3))
      at += 4
    }
    return digits
  }

  /// e5, E-3, *10^5; 0 when there is none, `nil` when it is malformed or out of range.
  private mutating func exponent() -> Int? {
    if at < text.count, text[at] == UInt8(ascii: "e") || text[at] == UInt8(ascii: "E") {
      return power(from: at + 1)
    }
    return text[at...].starts(with: Array("*10^".utf8)) ? power(from: at + 4) : 0
  }

  private mutating func power(from start: Int) -> Int? {
    at = start
    let isNegative = take("-")
    if !isNegative { _ = take("+") }
    let digits = at
    var value = 0
    while at < text.count, isDigit(text[at]) {
      value = value * 10 + Int(text[at] - UInt8(ascii: "0"))
      guard value <= Self.maximumExponent else { return nil }
      at += 1
    }
    guard at > digits else { return nil }
    return isNegative ? -value : value
  }

  private static func value(_ integer: [UInt8], _ fraction: ArraySlice<UInt8>, _ exponent: Int) -> NumericValue? {
    if integer.count + fraction.count <= maximumExponent {
      var numerator: Int128 = 0
      for digit in integer + fraction { numerator = numerator * 10 + Int128(digit - UInt8(ascii: "0")) }
      let shift = exponent - fraction.count
      var scale: Int128 = 1
      var fits = true
      for _ in 0..<abs(shift) {
        let (product, overflow) = scale.multipliedReportingOverflow(by: 10)
        guard !overflow else {
          fits = false
          break
        }
        scale = product
      }
      if fits, shift >= 0 {
        let (product, overflow) = numerator.multipliedReportingOverflow(by: scale)
        if !overflow { return .ratio(product, 1) }
      } else if fits {
        return .ratio(numerator, scale)
      }
    }
    guard exponent == 0 else { return nil }
    let text = String(decoding: integer.isEmpty ? [UInt8(ascii: "0")] : integer, as: UTF8.self)
    return .long(fraction.isEmpty ? text : text + "." + String(decoding: fraction, as: UTF8.self))
  }
}

@inline(__always)
func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

@inline(__always)
func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A }

@inline(__always)
func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }
