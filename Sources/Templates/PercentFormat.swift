import TemplateSyntax

/// `format % values`, printf's way.
struct PercentFormat: ValueFunctions {
  let budget: TemplateBudget

  func format(_ format: Text, _ values: Value) throws -> Text {
    guard !format.isMarkup else { throw TemplateError.unsupported("'%' on text that was marked safe") }
    var rest: ArraySlice<Value> = [values]
    if case .tuple(let items) = values { rest = items.values[...] }
    var usedNames = false
    var units: [UInt32] = []
    var index = 0
    func next() throws -> Value {
      guard let value = rest.popFirst() else { throw TemplateError.typeError("not enough arguments for format string") }
      return value
    }
    while index < format.count {
      guard format.code(index) == 0x25 else {
        units.append(format.units[index])
        index += 1
        continue
      }
      index += 1
      var named: Value?
      if index < format.count, format.code(index) == 0x28 {
        guard case .dict(let mapping) = values else { throw TemplateError.typeError("format requires a mapping") }
        var end = index + 1
        var open = 1
        while end < format.count {
          if format.code(end) == 0x28 { open += 1 }
          if format.code(end) == 0x29 { open -= 1 }
          if open == 0 { break }
          end += 1
        }
        guard end < format.count else { throw TemplateError.valueError("incomplete format key") }
        let name = format[index + 1..<end]
        guard let value = mapping[Key.string(name)] else { throw TemplateError(.failed, "KeyError: '\(name.string)'") }
        named = value
        usedNames = true
        index = end + 1
      }
      var specification = try percentFlags(format, &index)
      if let width = try percentNumber(format, &index, next) {
        specification.width = width < 0 ? -width : width
        if width < 0 { specification.alignment = "<" }
      }
      if index < format.count, format.code(index) == 0x2E {
        index += 1
        specification.precision = max(0, try percentNumber(format, &index, next) ?? 0)
      }
      while index < format.count, [0x68, 0x6C, 0x4C].contains(format.code(index)) { index += 1 }
      guard index < format.count else { throw TemplateError.valueError("incomplete format") }
      guard specification.width <= FormatSpecification.widthLimit else {
        throw TemplateError(.limit, "a format of width \(specification.width)")
      }
      let kind = Unicode.Scalar(format.code(index)).map(Character.init) ?? "?"
      index += 1
      if kind == "%" {
        units.append(0x25)
        continue
      }
      specification.type = kind
      let value = try named ?? next()
      let text = try percentText(value, specification)
      try budget.charge(text.count)
      units += text.units
    }
    if case .dict = values { usedNames = true }
    guard try rest.isEmpty || usedNames || Self.isMappingLike(values) else {
      throw TemplateError.typeError("not all arguments converted during string formatting")
    }
    return Text(units: units)
  }

  /// Python lets anything with elements that is neither a tuple nor a text stand unused.
  private static func isMappingLike(_ value: Value) throws -> Bool {
    switch value {
    case .list, .dict, .range, .undefined: true
    case .view, .iterator, .namespace, .loop, .macro, .method, .function:
      throw TemplateError.unsupported("'%' with a \(value.typeName)")
    default: false
    }
  }

  private func percentFlags(_ format: Text, _ index: inout Int) throws -> FormatSpecification {
    var specification = FormatSpecification()
    while index < format.count {
      switch format.code(index) {
      case 0x2D: specification.alignment = "<"
      case 0x2B: specification.sign = "+"
      case 0x20: if specification.sign == "-" { specification.sign = " " }
      case 0x23: specification.alternate = true
      case 0x30:
        if specification.alignment == nil {
          specification.alignment = "="
          specification.fill = 0x30
        }
      default: return specification
      }
      if specification.alignment == "<" { specification.fill = 0x20 }
      index += 1
    }
    return specification
  }

  private func percentNumber(_ format: Text, _ index: inout Int, _ next: () throws -> Value) throws -> Int? {
    guard index < format.count else { return nil }
    if format.code(index) == 0x2A {
      index += 1
      let value = try next()
      guard let number = value.index else { throw TemplateError.typeError("* wants int") }
      guard number.magnitude <= 1 << 20 else { throw TemplateError(.limit, "a format of width \(number)") }
      return number
    }
    var number: Int?
    while index < format.count, (0x30...0x39).contains(format.code(index)) {
      number = min((number ?? 0) * 10 + Int(format.code(index) - 0x30), 1 << 20)
      index += 1
    }
    return number
  }

  private func percentText(_ value: Value, _ specification: FormatSpecification) throws -> Text {
    var specification = specification
    let kind = specification.type ?? "s"
    func aligned(_ text: Text) -> Text {
      var specification = specification
      if specification.alignment == "=" {
        specification.alignment = ">"
        specification.fill = 0x20
      }
      specification.alignment = specification.alignment ?? ">"
      return specification.text(text)
    }
    switch kind {
    case "s": return aligned(try text(value))
    case "r": return aligned(try ValueWriter.representation(value, budget))
    case "a": throw TemplateError.unsupported("the format %a")
    case "d", "i", "u":
      specification.type = "d"
      if let index = value.index {
        guard specification.precision == nil else { throw TemplateError.unsupported("a precision of the format %d") }
        return try specification.text(index)
      }
      guard case .float(let number) = value else {
        throw TemplateError.typeError("%\(kind) format: a real number is required, not \(value.typeName)")
      }
      guard let whole = Int(exactly: number.rounded(.towardZero)) else { throw TemplateError.tooLarge }
      guard specification.precision == nil else { throw TemplateError.unsupported("a precision of the format %d") }
      return try specification.text(whole)
    case "x", "X", "o":
      guard let index = value.index else {
        throw TemplateError.typeError("%\(kind) format: an integer is required, not \(value.typeName)")
      }
      guard specification.precision == nil, !(specification.alternate && specification.alignment == "=") else {
        throw TemplateError.unsupported("this form of the format %\(kind)")
      }
      return try specification.text(index)
    case "e", "E", "f", "F", "g", "G":
      if case .undefined(let undefined) = value { throw undefined.error }
      guard let number = value.number else {
        throw TemplateError.typeError("must be real number, not \(value.typeName)")
      }
      return try specification.text(number)
    case "c":
      if case .string(let text) = value, text.count == 1 { return aligned(text) }
      guard let index = value.index, let code = UInt32(exactly: index), code <= 0x10FFFF else {
        throw TemplateError.typeError("%c requires int or char")
      }
      return aligned(Text(units: [code]))
    default:
      throw TemplateError.valueError("unsupported format character '\(kind)'")
    }
  }
}
