import TemplateSyntax

/// How one value is written: what stands after `%` or after the colon of `{:}`.
struct FormatSpecification {
  var fill: UInt32 = 0x20
  var alignment: Character?
  var sign: Character = "-"
  var alternate = false
  var width = 0
  var grouping: Character?
  var precision: Int?
  var type: Character?

  static let widthLimit = 1 << 16

  /// Of an integer.
  func text(_ value: Int) throws -> Text {
    let digits: String
    let magnitude = value.magnitude
    switch type ?? "d" {
    case "d", "i", "u", "n": digits = grouped(String(magnitude))
    case "x": digits = (alternate ? "0x" : "") + String(magnitude, radix: 16)
    case "X": digits = (alternate ? "0X" : "") + String(magnitude, radix: 16, uppercase: true)
    case "o": digits = (alternate ? "0o" : "") + String(magnitude, radix: 8)
    case "b": digits = (alternate ? "0b" : "") + String(magnitude, radix: 2)
    case "e", "E", "f", "F", "g", "G", "%": return try text(Double(value))
    default: throw TemplateError.unsupported("the format '\(type ?? "d")' of an integer")
    }
    return padded(signText(value < 0), digits)
  }

  /// Of a float, by a type that says how.
  func text(_ value: Double) throws -> Text {
    let precision = precision ?? 6
    guard precision <= 100 else { throw TemplateError.unsupported("a precision of \(precision) digits") }
    let kind = type ?? "f"
    guard value.isFinite else {
      let name = value.isNaN ? "nan" : "inf"
      return padded(signText(value < 0), kind.isUppercase ? name.uppercased() : name)
    }
    let magnitude = value.magnitude
    let isNegative = value.sign == .minus
    switch kind {
    case "e", "E", "f", "F", "g", "G":
      return padded(
        signText(isNegative),
        grouped(FloatPower.digits(magnitude, kind: kind, precision: precision, alternate: alternate)))
    case "%":
      return padded(
        signText(isNegative), grouped(FloatPower.digits(magnitude * 100, kind: "f", precision: precision)) + "%")
    default: throw TemplateError.unsupported("the format '\(kind)' of a float")
    }
  }

  /// Of a text.
  func text(_ value: Text) -> Text {
    var value = value
    value.isMarkup = false
    if let precision, precision < value.count { value = value[0..<precision] }
    return aligned(value, default: "<")
  }

  func signText(_ isNegative: Bool) -> String { isNegative ? "-" : sign == "-" ? "" : String(sign) }

  private func grouped(_ digits: String) -> String {
    guard let grouping else { return digits }
    let whole = digits.prefix { $0.isNumber }
    var out = ""
    for (index, digit) in whole.enumerated() {
      if index > 0, (whole.count - index) % 3 == 0 { out.append(grouping) }
      out.append(digit)
    }
    return out + digits.dropFirst(whole.count)
  }

  /// A number: zeros go between its sign and its digits.
  func padded(_ sign: String, _ digits: String) -> Text {
    let missing = width - sign.count - digits.count
    guard alignment == "=", missing > 0 else { return aligned(Text(sign + digits), default: ">") }
    return Text(units: Text(sign).units + Array(repeating: fill, count: missing) + Text(digits).units)
  }

  func aligned(_ text: Text, default standard: Character) -> Text {
    let missing = width - text.count
    guard missing > 0 else { return text }
    let before =
      switch alignment ?? standard {
      case "<": 0
      case "^": missing / 2
      default: missing
      }
    return Text(
      units: Array(repeating: fill, count: before) + text.units + Array(repeating: fill, count: missing - before))
  }
}
