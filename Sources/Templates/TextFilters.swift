import TemplateSyntax

/// jinja2's filters of text.
struct TextFilters: ValueFunctions {
  let budget: TemplateBudget

  func apply(_ name: String, _ value: Value, _ arguments: CallArguments) throws -> Value? {
    func softly(_ change: (Text) throws -> Text) throws -> Value {
      _ = try arguments.positional(0...0, of: name)
      let text = try softText(value)
      try budget.charge(3 * text.count)
      var changed = try change(text)
      changed.isMarkup = text.isMarkup
      return .string(changed)
    }
    switch name {
    case "upper": return try softly(\.uppercased)
    case "lower": return try softly(\.lowercased)
    case "capitalize": return try softly(\.capitalized)
    case "string": return try softly { $0 }
    case "title":
      _ = try arguments.positional(0...0, of: name)
      return .string(try titled(softText(value)))
    case "safe":
      _ = try arguments.positional(0...0, of: name)
      var text = try text(value)
      text.isMarkup = true
      return .string(text)
    case "escape", "e", "forceescape":
      _ = try arguments.positional(0...0, of: name)
      if name != "forceescape", case .string(let text) = value, text.isMarkup { return value }
      var text = try text(value)
      text.isMarkup = false
      return .string(try escape(text))
    case "trim":
      let given = try arguments.bound(to: ["chars"], of: name)
      let text = try softText(value)
      try budget.charge(text.count)
      return .string(text.stripped(try stripSet(given[0])))
    case "replace":
      let given = try arguments.bound(to: ["old", "new", "count"], required: 2, of: name)
      var count = -1
      if let limit = given[2], case .none = limit {} else if let limit = given[2] { count = try integer(limit) }
      return .string(
        try replace(
          text(value), try text(given[0] ?? .none), with: text(given[1] ?? .none), limit: count < 0 ? .max : count))
    case "join":
      let given = try arguments.bound(to: ["d", "attribute"], of: name)
      var items = try elements(value)
      if let attribute = given[1], case .none = attribute {
      } else if let attribute = given[1] {
        items = try items.map(attributes.reader(of: attribute))
      }
      return .string(try join(items.map { try text($0) }, try given[0].map { try text($0) } ?? .empty))
    case "center":
      let given = try arguments.bound(to: ["width"], of: name)
      let text = try softText(value)
      var padded = try pad(text, try given[0].map { try integer($0) } ?? 80, " ", left: true, right: true)
      padded.isMarkup = text.isMarkup
      return .string(padded)
    case "indent": return .string(try indent(value, arguments))
    case "truncate": return try truncate(value, arguments)
    case "format":
      guard arguments.positional.isEmpty || arguments.keywords.isEmpty else {
        throw TemplateError(
          .failed, "FilterArgumentError: can't handle positional and keyword arguments at the same time")
      }
      let values: Value =
        arguments.keywords.isEmpty
        ? try .tuple(of: arguments.positional)
        : .dict(try Mapping(arguments.keywords.map { (.string($0.name), $0.value) }))
      return .string(try PercentFormat(budget: budget).format(softText(value), values))
    case "wordcount":
      _ = try arguments.positional(0...0, of: name)
      var count = 0
      var isInside = false
      for code in try softText(value).codes {
        let isWord = code == 0x5F || CharacterClass.isLetter(code) || CharacterClass.isNumeric(code)
        if isWord, !isInside { count += 1 }
        isInside = isWord
      }
      return .integer(count)
    case "urlencode":
      guard case .string(let text) = value else { throw TemplateError.unsupported("urlencode of a \(value.typeName)") }
      return .string(try urlEncoded(text))
    default: return nil
    }
  }

  private func titled(_ text: Text) throws -> Text {
    try budget.charge(3 * text.count)
    var units: [UInt32] = []
    var start = 0
    func isBreak(_ code: UInt32) -> Bool {
      CharacterClass.isSpace(code) || [0x2D, 0x28, 0x7B, 0x5B, 0x3C].contains(code)
    }
    while start < text.count {
      var end = start + 1
      let breaks = isBreak(text.code(start))
      while end < text.count, isBreak(text.code(end)) == breaks { end += 1 }
      units += text[start..<start + 1].uppercased.units
      units += text[start + 1..<end].lowercased.units
      start = end
    }
    return Text(units: units)
  }

  private func indent(_ value: Value, _ arguments: CallArguments) throws -> Text {
    let given = try arguments.bound(to: ["width", "first", "blank"], of: "indent")
    if case .undefined(let undefined) = value { throw undefined.error }
    guard case .string(let text) = value else {
      throw TemplateError.typeError("unsupported operand type(s) for +=: '\(value.typeName)' and 'str'")
    }
    guard !text.isMarkup else { throw TemplateError.unsupported("indent of text that was marked safe") }
    let indentation: Text
    switch given[0] {
    case .some(.string(let text)): indentation = text
    case .some(let width):
      let width = max(0, try integer(width))
      guard width <= 1 << 12 else { throw TemplateError(.limit, "indent by \(width)") }
      indentation = Text(units: Array(repeating: 0x20, count: width))
    case nil: indentation = "    "
    }
    let lines = Text(units: text.units + [0x0A]).lines()
    try budget.charge(text.count + 1 + lines.count * (indentation.count + 1))
    var units: [UInt32] = given[1]?.isTrue ?? false ? indentation.units : []
    let indentsBlank = given[2]?.isTrue ?? false
    for (index, line) in lines.enumerated() {
      if index > 0 {
        units.append(0x0A)
        if indentsBlank || !line.isEmpty { units += indentation.units }
      }
      units += line.units
    }
    return Text(units: units)
  }

  private func truncate(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["length", "killwords", "end", "leeway"], of: "truncate")
    guard case .string(let text) = value, !text.isMarkup else {
      throw TemplateError.unsupported("truncate of a \(value.typeName)")
    }
    let length = try given[0].map { try integer($0) } ?? 255
    var end = Text("...")
    if case .string(let text)? = given[2] { end = text }
    var leeway = 5
    if let value = given[3] { if case .none = value {} else { leeway = try integer(value) } }
    guard length >= end.count, leeway >= 0 else {
      throw TemplateError(.failed, "AssertionError: expected length >= \(end.count), got \(length)")
    }
    guard leeway < .max - length, text.count > length + leeway else { return value }
    try budget.charge(length)
    var cut = text[0..<length - end.count]
    if !(given[1]?.isTrue ?? false), let space = cut.units.lastIndex(where: { $0 & Text.codeBits == 0x20 }) {
      cut = cut[0..<space]
    }
    return .string(Text(units: cut.units + end.units))
  }

  private func urlEncoded(_ text: Text) throws -> Text {
    try budget.charge(12 * text.count)
    var units: [UInt32] = []
    for unit in text.units {
      guard let scalar = Unicode.Scalar(unit & Text.codeBits) else {
        throw TemplateError(.failed, "UnicodeEncodeError: surrogates not allowed")
      }
      let isPlain =
        scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
        || "_.-~/".unicodeScalars.contains(scalar)
      if isPlain {
        units.append(unit)
      } else {
        for byte in String(Character(scalar)).utf8 {
          units += ("%" + hexadecimal(UInt32(byte), 2).uppercased()).unicodeScalars.map { $0.value | unit & Text.mark }
        }
      }
    }
    return Text(units: units)
  }
}
