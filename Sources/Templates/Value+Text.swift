/// Writes values as Python's `str` and `repr` do, within the budget.
struct ValueWriter {
  var text = Text.empty

  /// `str(value)`
  static func text(_ value: Value, _ budget: TemplateBudget) throws -> Text {
    switch value {
    case .string(let text): return text
    case .undefined: return .empty
    default:
      var writer = ValueWriter()
      try writer.write(value, budget)
      return writer.text
    }
  }

  static func representation(_ value: Value, _ budget: TemplateBudget) throws -> Text {
    var writer = ValueWriter()
    try writer.write(value, budget)
    return writer.text
  }

  private mutating func put(_ string: String) { text.units += string.unicodeScalars.map(\.value) }

  /// `repr(value)`
  private mutating func write(_ value: Value, _ budget: TemplateBudget, depth: Int = 0) throws {
    guard depth <= TemplateLimits.valueDepth else { throw TemplateError(.limit, "a value is nested too deep to print") }
    try budget.charge(8)
    switch value {
    case .none: put("None")
    case .bool(let value): put(value ? "True" : "False")
    case .integer(let value): put(String(value))
    case .float(let value): put(PythonNumber.representation(value))
    case .string(let string):
      if string.isMarkup { put("Markup(") }
      try writeQuoted(string, budget)
      if string.isMarkup { put(")") }
    case .list(let items):
      put("[")
      try writeList(items.values, budget, depth)
      put("]")
    case .tuple(let items):
      put("(")
      try writeList(items.values, budget, depth)
      put(items.values.count == 1 ? ",)" : ")")
    case .dict(let mapping):
      put("{")
      try writePairs(mapping.pairs, budget, depth)
      put("}")
    case .view(let part, let mapping):
      put("dict_\(part)([")
      try writeList(try mapping.part(part), budget, depth)
      put("])")
    case .range(let range):
      put("range(\(range.start), \(range.stop)\(range.step == 1 ? "" : ", \(range.step)"))")
    case .namespace(let namespace):
      put("<Namespace {")
      try writePairs(namespace.attributes.map { (.string($0.name), $0.value) }, budget, depth)
      put("}>")
    case .macro(let macro): put("<Macro \(macro.definition.name.map { "'\($0)'" } ?? "anonymous")>")
    case .loop(let loop): put("<LoopContext \(loop.index0 + 1)/\(try loop.length())>")
    case .undefined: put("Undefined")
    case .iterator, .method, .function:
      throw TemplateError.unsupported("printing a \(value.typeName), which shows an address in Python,")
    }
  }

  private mutating func writeList(_ values: [Value], _ budget: TemplateBudget, _ depth: Int) throws {
    for (index, value) in values.enumerated() {
      if index > 0 { put(", ") }
      try write(value, budget, depth: depth + 1)
    }
  }

  private mutating func writePairs(_ pairs: [(Value, Value)], _ budget: TemplateBudget, _ depth: Int) throws {
    for (index, pair) in pairs.enumerated() {
      if index > 0 { put(", ") }
      try write(pair.0, budget, depth: depth + 1)
      put(": ")
      try write(pair.1, budget, depth: depth + 1)
    }
  }

  private mutating func writeQuoted(_ string: Text, _ budget: TemplateBudget) throws {
    try budget.charge(string.count)
    let codes = string.codes
    let quote: UInt32 = codes.contains(0x27) && !codes.contains(0x22) ? 0x22 : 0x27
    text.units.append(quote)
    for (unit, code) in zip(string.units, codes) {
      let bit = unit & Text.mark
      func escape(_ escape: String) -> [UInt32] { escape.unicodeScalars.map { $0.value | bit } }
      switch code {
      case 0x5C, quote: text.units += [0x5C | bit, unit]
      case 0x0A: text.units += escape("\\n")
      case 0x0D: text.units += escape("\\r")
      case 0x09: text.units += escape("\\t")
      default:
        if code >= 0x20 && code < 0x7F || code >= 0x7F && CharacterClass.isPrintable(code) {
          text.units.append(unit)
        } else {
          let (letter, width) = code <= 0xFF ? ("x", 2) : code <= 0xFFFF ? ("u", 4) : ("U", 8)
          text.units += escape("\\" + letter + hexadecimal(code, width))
        }
      }
    }
    text.units.append(quote)
  }
}

/// Lower-case hexadecimal digits, at least `width`.
func hexadecimal(_ code: UInt32, _ width: Int) -> String {
  let digits = String(code, radix: 16)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

/// Numbers as Python writes them.
enum PythonNumber {
  /// `repr(value)`: the fewest digits that read back as the same number.
  static func representation(_ value: Double) -> String {
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
  static func float(_ text: Text) -> Double? {
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
  static func integer(_ text: Text, base: Int = 10) throws -> Int? {
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
