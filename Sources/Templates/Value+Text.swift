import TemplateSyntax

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
