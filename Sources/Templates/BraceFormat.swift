import TemplateSyntax

/// `str.format`.
struct BraceFormat: ValueFunctions {
  let budget: TemplateBudget

  /// `format.format(*values, **names)`
  func format(_ format: Text, _ values: [Value], _ names: [(name: String, value: Value)]) throws -> Text {
    var units: [UInt32] = []
    var index = 0
    var automatic = 0
    while index < format.count {
      let code = format.code(index)
      let doubled = index + 1 < format.count && format.code(index + 1) == code
      if (code == 0x7B || code == 0x7D), doubled {
        units.append(format.units[index])
        index += 2
      } else if code == 0x7D {
        throw TemplateError.valueError("Single '}' encountered in format string")
      } else if code == 0x7B {
        var end = index + 1
        while end < format.count, format.code(end) != 0x7D {
          if format.code(end) == 0x7B { throw TemplateError.unsupported("a field in a field of str.format") }
          end += 1
        }
        guard end < format.count else { throw TemplateError.valueError("expected '}' before end of string") }
        let text = try field(format[index + 1..<end].string, values, names, &automatic)
        try budget.charge(text.count)
        units += text.units
        index = end + 1
      } else {
        units.append(format.units[index])
        index += 1
      }
    }
    return Text(units: units)
  }

  private func field(
    _ field: String, _ values: [Value], _ names: [(name: String, value: Value)], _ automatic: inout Int
  ) throws -> Text {
    let halves = field.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let parts = halves[0].split(separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
    let specification = halves.count > 1 ? String(halves[1]) : ""
    var value = try fieldValue(String(parts[0]), values, names, &automatic)
    switch parts.count > 1 ? String(parts[1]) : "" {
    case "": break
    case "s": value = .string(try text(value))
    case "r": value = .string(try ValueWriter.representation(value, budget))
    default: throw TemplateError.unsupported("the conversion '\(field)' of str.format")
    }
    return try formatted(value, specification)
  }

  private func fieldValue(
    _ path: String, _ values: [Value], _ names: [(name: String, value: Value)], _ automatic: inout Int
  ) throws -> Value {
    let first = path.prefix { $0 != "." && $0 != "[" }
    var rest = path.dropFirst(first.count)
    var value: Value
    if first.isEmpty || first.allSatisfy({ $0.isASCII && $0.isNumber }) {
      guard automatic >= 0 || !first.isEmpty, automatic <= 0 || first.isEmpty else {
        throw TemplateError.valueError("cannot switch between automatic field numbering and manual field specification")
      }
      let index = first.isEmpty ? automatic : Int(first) ?? .max
      automatic = first.isEmpty ? automatic + 1 : -1
      guard values.indices.contains(index) else {
        throw TemplateError(.failed, "IndexError: Replacement index \(index) out of range for positional args tuple")
      }
      value = values[index]
    } else {
      guard let named = names.first(where: { $0.name == first }) else {
        throw TemplateError(.failed, "KeyError: '\(first)'")
      }
      value = named.value
    }
    while let opening = rest.first {
      rest = rest.dropFirst()
      if opening == "." {
        let name = rest.prefix { $0 != "." && $0 != "[" }
        rest = rest.dropFirst(name.count)
        value = try attributes.attribute(String(name), of: value)
      } else {
        let key = rest.prefix { $0 != "]" }
        guard opening == "[", key.count < rest.count else {
          throw TemplateError.valueError("Missing ']' in format string")
        }
        rest = rest.dropFirst(key.count + 1)
        value = try attributes.item(Int(key).map(Value.integer) ?? .string(String(key)), of: value)
      }
    }
    return value
  }

  /// `format(value, specification)`
  private func formatted(_ value: Value, _ text: String) throws -> Text {
    if text.isEmpty { return try self.text(value) }
    var specification = try read(text)
    switch value {
    case .string(let string):
      guard specification.alignment != "=", specification.type == nil || specification.type == "s" else {
        throw TemplateError.valueError("Unknown format code '\(text)' for object of type 'str'")
      }
      return specification.text(string)
    case .bool(let flag): return try specification.text(flag ? 1 : 0)
    case .integer(let number):
      if specification.precision != nil, specification.type == nil || specification.type == "d" {
        throw TemplateError.valueError("Precision not allowed in integer format specifier")
      }
      if specification.type == nil { specification.type = "d" }
      return try specification.text(number)
    case .float(let number):
      if specification.type == nil {
        guard specification.precision == nil, specification.grouping == nil else {
          throw TemplateError.unsupported("the format '\(text)' of a float")
        }
        return specification.padded(
          specification.signText(number < 0), PythonNumber.representation(number.magnitude))
      }
      return try specification.text(number)
    default:
      throw TemplateError.typeError("unsupported format string passed to \(value.typeName).__format__")
    }
  }

  private func read(_ text: String) throws -> FormatSpecification {
    var specification = FormatSpecification()
    var rest = Array(text.unicodeScalars)[...]
    func isAlignment(_ scalar: Unicode.Scalar) -> Bool { "<>=^".unicodeScalars.contains(scalar) }
    if rest.count > 1, isAlignment(rest[rest.startIndex + 1]) {
      specification.fill = rest.removeFirst().value
      specification.alignment = Character(rest.removeFirst())
    } else if let first = rest.first, isAlignment(first) {
      specification.alignment = Character(rest.removeFirst())
    }
    if let sign = rest.first, "+- ".unicodeScalars.contains(sign) { specification.sign = Character(rest.removeFirst()) }
    if rest.first == "#" {
      rest.removeFirst()
      specification.alternate = true
    }
    if rest.first == "0" {
      rest.removeFirst()
      if specification.alignment == nil {
        specification.alignment = "="
        specification.fill = 0x30
      }
    }
    func number() -> Int? {
      var number: Int?
      while let digit = rest.first, ("0"..."9").contains(digit) {
        number = min((number ?? 0) * 10 + Int(digit.value - 0x30), 1 << 20)
        rest.removeFirst()
      }
      return number
    }
    specification.width = number() ?? 0
    if let grouping = rest.first, grouping == "," || grouping == "_" {
      rest.removeFirst()
      specification.grouping = Character(grouping)
    }
    if rest.first == "." {
      rest.removeFirst()
      guard let precision = number() else { throw TemplateError.valueError("Format specifier missing precision") }
      specification.precision = precision
    }
    if let type = rest.popFirst() { specification.type = Character(type) }
    guard rest.isEmpty else { throw TemplateError.valueError("Invalid format specifier '\(text)'") }
    guard specification.width <= FormatSpecification.widthLimit else {
      throw TemplateError(.limit, "a format of width \(specification.width)")
    }
    guard !(specification.grouping != nil && specification.alignment == "=") else {
      throw TemplateError.unsupported("the format '\(text)'")
    }
    return specification
  }
}
