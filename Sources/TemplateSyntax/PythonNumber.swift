/// Lower-case hexadecimal digits, at least `width`.
package func hexadecimal(_ code: UInt32, _ width: Int) -> String {
  let digits = String(code, radix: 16)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

/// Numbers as Python writes them.
package enum PythonNumber {
  /// `repr(value)`: the fewest digits that read back as the same number.
  package static func representation(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    let (digits, exponent) = shortest(value.magnitude)
    let sign = value.sign == .minus ? "-" : ""
    // `exponent`: the place of the point after the first digit.
    guard exponent >= -4, exponent < 16 else {
      let fraction = digits.count > 1 ? "." + String(digits.dropFirst()) : ""
      let power = String(exponent.magnitude)
      return "\(sign)\(digits.prefix(1))\(fraction)e\(exponent < 0 ? "-" : "+")\(power.count < 2 ? "0" : "")\(power)"
    }
    if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
    let whole = digits.prefix(exponent + 1)
    let fraction = digits.dropFirst(exponent + 1)
    let zeros = String(repeating: "0", count: max(0, exponent + 1 - digits.count))
    return "\(sign)\(whole)\(zeros).\(fraction.isEmpty ? "0" : fraction)"
  }

  /// The shortest digits, without zeros at the ends, and the power of ten of the first.
  private static func shortest(_ value: Double) -> (digits: String, exponent: Int) {
    guard value != 0 else { return ("0", 0) }
    let parts = value.description.split(separator: "e")
    let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    let whole = String(mantissa[0])
    let all = whole + (mantissa.count > 1 ? String(mantissa[1]) : "")
    let leading = all.prefix { $0 == "0" }.count
    var digits = String(all.dropFirst(leading))
    while digits.count > 1, digits.hasSuffix("0") { digits.removeLast() }
    return (digits, whole.count - 1 - leading + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0))
  }

  /// `float(text)`
  package static func float(_ text: Text) -> Double? {
    let string = text.stripped().string.lowercased()
    var digits = ""
    var previous: Character = " "
    for character in string {
      guard character.isASCII else { return nil }
      if character == "_" {
        guard previous.isNumber else { return nil }
      } else {
        if previous == "_", !character.isNumber { return nil }
        digits.append(character)
      }
      previous = character
    }
    guard previous != "_" else { return nil }
    var unsigned = digits[...]
    if let first = unsigned.first, first == "+" || first == "-" { unsigned = unsigned.dropFirst() }
    switch unsigned {
    case "inf", "infinity": return digits.hasPrefix("-") ? -.infinity : .infinity
    case "nan": return .nan
    default:
      guard unsigned.allSatisfy({ $0.isNumber || $0 == "." || $0 == "e" || $0 == "+" || $0 == "-" }),
        unsigned.first?.isNumber == true || unsigned.first == "."
      else { return nil }
      var readable = digits
      // `Double` wants a digit on both sides of the point.
      if unsigned.first == "." { readable = (digits.hasPrefix("-") ? "-0" : "0") + unsigned }
      readable = readable.split(separator: "e", omittingEmptySubsequences: false).map {
        $0.hasSuffix(".") ? $0 + "0" : $0
      }
      .joined(separator: "e")
      guard unsigned != "." else { return nil }
      return Double(readable)
    }
  }

  /// `int(text, base)`; base 0 reads the prefix.
  package static func integer(_ text: Text, base: Int = 10) throws -> Int? {
    var string = text.stripped().string.lowercased()[...]
    var sign = ""
    if let first = string.first, first == "+" || first == "-" {
      sign = String(first)
      string = string.dropFirst()
    }
    var base = base
    var prefixed = false
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where string.hasPrefix(prefix) {
      if base == 0 || base == radix {
        base = radix
        string = string.dropFirst(2)
        prefixed = true
      }
    }
    if base == 0 {
      guard string.first != "0" || string.allSatisfy({ $0 == "0" || $0 == "_" }) else { return nil }
      base = 10
    }
    if prefixed, string.first == "_" { string = string.dropFirst() }
    guard !string.isEmpty, string.first != "_", string.last != "_" else {
      return nil
    }
    var digits = ""
    var previous: Character = "0"
    for character in string {
      if character == "_" {
        guard previous != "_" else { return nil }
      } else {
        guard character.isASCII, let value = character.hexDigitValue ?? letterValue(character), value < base else {
          if !character.isASCII { throw TemplateError.unsupported("reading a number in digits beyond ASCII") }
          return nil
        }
        digits.append(character)
      }
      previous = character
    }
    guard let value = Int(sign + digits, radix: base) else {
      throw TemplateError.unsupported("an integer beyond 64 bits")
    }
    return value
  }

  private static func letterValue(_ character: Character) -> Int? {
    guard let ascii = character.asciiValue, ascii >= 0x61, ascii <= 0x7A else { return nil }
    return Int(ascii) - 0x61 + 10
  }
}
