import TemplateSyntax

/// `json.dumps` as the filter `tojson` of `transformers` calls it: no HTML escaping, text beyond ASCII as it is.
struct JSONDump {
  var ensuresASCII = false
  /// What one level of indentation is; nil: everything on one line.
  var indentation: Text?
  var itemSeparator: Text
  var keySeparator: Text = ": "
  var sortsKeys = false
  private(set) var text = Text.empty

  init(ensuresASCII: Bool, indentation: Text?, separators: (Text, Text)?, sortsKeys: Bool) {
    self.ensuresASCII = ensuresASCII
    self.indentation = indentation
    self.sortsKeys = sortsKeys
    itemSeparator = separators?.0 ?? (indentation == nil ? ", " : ",")
    if let separators { keySeparator = separators.1 }
  }

  mutating func write(_ value: Value, _ budget: TemplateBudget, level: Int = 0) throws {
    try budget.charge(8)
    switch value {
    case .none: put("null")
    case .bool(let value): put(value ? "true" : "false")
    case .integer(let value): put(String(value))
    case .float(let value): put(Self.number(value))
    case .string(let string):
      try budget.charge(string.count)
      write(string)
    case .list(let items), .tuple(let items):
      try writeGroup(items.values.count, "[", "]", budget, level) { dump, index, budget in
        try dump.write(items.values[index], budget, level: level + 1)
      }
    case .dict(let mapping):
      var pairs = mapping.pairs
      if sortsKeys { pairs = try pairs.sorted { try Value.isLess($0.0, $1.0) } }
      try writeGroup(pairs.count, "{", "}", budget, level) { dump, index, budget in
        dump.write(try Self.key(pairs[index].0))
        dump.text.units += dump.keySeparator.units
        try dump.write(pairs[index].1, budget, level: level + 1)
      }
    default: throw TemplateError.typeError("Object of type \(value.typeName) is not JSON serializable")
    }
  }

  private mutating func put(_ string: String) { text.units += string.unicodeScalars.map(\.value) }

  private static func number(_ value: Double) -> String {
    value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : PythonNumber.representation(value)
  }

  private static func key(_ key: Value) throws -> Text {
    switch key {
    case .string(let text): return text
    case .none: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return Text(String(value))
    case .float(let value): return Text(number(value))
    default: throw TemplateError.typeError("keys must be str, int, float, bool or None, not \(key.typeName)")
    }
  }

  private mutating func writeGroup(
    _ count: Int, _ open: String, _ close: String, _ budget: TemplateBudget, _ level: Int,
    _ element: (inout JSONDump, Int, TemplateBudget) throws -> Void
  ) throws {
    put(open)
    for index in 0..<count {
      if index > 0 { text.units += itemSeparator.units }
      try breakLine(level + 1, budget)
      try element(&self, index, budget)
    }
    if count > 0 { try breakLine(level, budget) }
    put(close)
  }

  private mutating func breakLine(_ level: Int, _ budget: TemplateBudget) throws {
    guard let indentation else { return }
    try budget.charge(indentation.count * level + 1)
    text.units.append(0x0A)
    for _ in 0..<level { text.units += indentation.units }
  }

  private mutating func write(_ string: Text) {
    text.units.append(0x22)
    for unit in string.units {
      let bit = unit & Text.mark
      func put(_ escape: String) { text.units += escape.unicodeScalars.map { $0.value | bit } }
      let code = unit & Text.codeBits
      switch code {
      case 0x22: put("\\\"")
      case 0x5C: put("\\\\")
      case 0x0A: put("\\n")
      case 0x0D: put("\\r")
      case 0x09: put("\\t")
      case 0x08: put("\\b")
      case 0x0C: put("\\f")
      case 0..<0x20: put("\\u" + hexadecimal(code, 4))
      case 0x7F... where ensuresASCII:
        if code == 0x7F {
          text.units.append(unit)
        } else if code > 0xFFFF {
          let offset = code - 0x10000
          put("\\u" + hexadecimal(0xD800 + offset >> 10, 4) + "\\u" + hexadecimal(0xDC00 + offset & 0x3FF, 4))
        } else {
          put("\\u" + hexadecimal(code, 4))
        }
      default: text.units.append(unit)
      }
    }
    text.units.append(0x22)
  }
}
