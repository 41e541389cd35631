import TemplateSyntax

/// Python's methods of text.
struct StringMethods: ValueFunctions {
  let budget: TemplateBudget

  /// Methods whose result on text that was marked safe is marked safe, and that take no text to be escaped.
  private static let markupMethods: Set<String> = [
    "upper", "lower", "title", "capitalize", "swapcase", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines",
    "startswith", "endswith", "find", "rfind", "index", "rindex", "count", "isalnum", "isalpha", "isascii",
    "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "isupper",
  ]

  func call(_ name: String, of text: Text, _ arguments: CallArguments) throws -> Value {
    if text.isMarkup, !Self.markupMethods.contains(name) {
      throw TemplateError.unsupported("the method '\(name)' of text that was marked safe")
    }
    try budget.charge(text.count)
    if let result = try searchMethod(name, text, arguments) { return result }
    if let result = try cutMethod(name, text, arguments) { return result }
    if let result = try classMethod(name, text, arguments) { return result }
    func changed(_ change: (Text) -> Text) throws -> Value {
      _ = try arguments.positional(0...0, of: name)
      try budget.charge(2 * text.count)
      var result = change(text)
      result.isMarkup = text.isMarkup
      return .string(result)
    }
    switch name {
    case "upper": return try changed(\.uppercased)
    case "lower": return try changed(\.lowercased)
    case "title": return try changed(\.titled)
    case "capitalize": return try changed(\.capitalized)
    case "swapcase": return try changed(\.swappedCase)
    case "casefold":
      guard text.units.allSatisfy({ $0 & Text.codeBits < 0x80 }) else {
        throw TemplateError.unsupported("casefold of text beyond ASCII")
      }
      return try changed(\.lowercased)
    case "replace":
      let given = try arguments.positional(2...3, of: name)
      let limit = given.count > 2 ? try integer(given[2]) : -1
      return .string(
        try replace(text, string(given[0], name), with: string(given[1], name), limit: limit < 0 ? .max : limit))
    case "join":
      let parts = try elements(arguments.positional(1...1, of: name)[0])
      return .string(
        try join(
          parts.enumerated().map { index, part in
            guard case .string(let text) = part else {
              throw TemplateError.typeError("sequence item \(index): expected str instance, \(part.typeName) found")
            }
            return text
          }, text))
    case "center", "ljust", "rjust":
      let given = try arguments.positional(1...2, of: name)
      let fill = given.count > 1 ? try string(given[1], name) : " "
      guard fill.count == 1 else {
        throw TemplateError.typeError("The fill character must be exactly one character long")
      }
      return .string(try pad(text, integer(given[0]), fill, left: name != "ljust", right: name != "rjust"))
    case "zfill":
      let width = try integer(arguments.positional(1...1, of: name)[0])
      let isSigned = !text.isEmpty && (text.code(0) == 0x2B || text.code(0) == 0x2D)
      let digits = isSigned ? text[1..<text.count] : text
      let filled = try pad(digits, isSigned ? max(width, 1) - 1 : width, "0", left: true, right: false)
      return .string(Text(units: (isSigned ? [text.units[0]] : []) + filled.units))
    case "format":
      return .string(try BraceFormat(budget: budget).format(text, arguments.positional, arguments.keywords))
    case "format_map":
      guard case .dict(let mapping) = try arguments.positional(1...1, of: name)[0] else {
        throw TemplateError.unsupported("format_map of anything but a mapping")
      }
      let keywords = mapping.pairs.compactMap { key, value -> (String, Value)? in
        if case .string(let name) = key { return (name.string, value) }
        return nil
      }
      return .string(try BraceFormat(budget: budget).format(text, [], keywords))
    case "encode", "expandtabs", "maketrans", "translate", "istitle":
      throw TemplateError.unsupported("the method '\(name)' of a str")
    default: throw TemplateError.unsupported("the method '\(name)' of a str")
    }
  }

  // MARK: Finding

  private func searchMethod(_ name: String, _ text: Text, _ arguments: CallArguments) throws -> Value? {
    switch name {
    case "startswith", "endswith":
      let given = try arguments.positional(1...3, of: name)
      var parts = [given[0]]
      if case .tuple(let items) = given[0] { parts = items.values }
      let start = try bounds(given.dropFirst().prefix(1), text.count).lowerBound
      let range = try bounds(given.dropFirst(), text.count)
      for part in parts {
        guard case .string(let part) = part else {
          throw TemplateError.typeError("\(name) first arg must be str or a tuple of str, not \(part.typeName)")
        }
        guard start <= text.count, part.count <= range.count else { continue }
        if text.hasPrefix(part, at: name == "startswith" ? range.lowerBound : range.upperBound - part.count) {
          return .bool(true)
        }
      }
      return .bool(false)
    case "find", "rfind", "index", "rindex":
      let given = try arguments.positional(1...3, of: name)
      let part = try string(given[0], name)
      let range = try bounds(given.dropFirst(), text.count)
      let place =
        range.lowerBound > text.count
        ? nil
        : name.hasPrefix("r")
          ? try text.lastPlace(of: part, in: range, budget) : try text.firstPlace(of: part, in: range, budget)
      if place == nil, name.hasSuffix("index") { throw TemplateError.valueError("substring not found") }
      return .integer(place ?? -1)
    case "count":
      let given = try arguments.positional(1...3, of: name)
      let part = try string(given[0], name)
      let range = try bounds(given.dropFirst(), text.count)
      guard range.lowerBound <= text.count else { return .integer(0) }
      return .integer(try text[range].places(of: part, budget).count)
    default: return nil
    }
  }

  // MARK: Cutting

  private func cutMethod(_ name: String, _ text: Text, _ arguments: CallArguments) throws -> Value? {
    switch name {
    case "strip", "lstrip", "rstrip":
      let given = try arguments.positional(0...1, of: name)
      return .string(text.stripped(try stripSet(given.first), left: name != "rstrip", right: name != "lstrip"))
    case "split", "rsplit":
      let given = try arguments.bound(to: ["sep", "maxsplit"], of: name)
      let limit = try given[1].map { try integer($0) } ?? -1
      let pieces = try split(text, given[0], limit: limit < 0 ? .max : limit, fromEnd: name == "rsplit")
      try budget.charge(elements: pieces.count)
      return try .list(of: pieces.map(Value.string))
    case "splitlines":
      let given = try arguments.bound(to: ["keepends"], of: name)
      let lines = text.lines(keepingEnds: given[0]?.isTrue ?? false)
      try budget.charge(elements: lines.count)
      return try .list(of: lines.map(Value.string))
    case "partition", "rpartition":
      let part = try string(arguments.positional(1...1, of: name)[0], name)
      guard !part.isEmpty else { throw TemplateError.valueError("empty separator") }
      let isLast = name == "rpartition"
      let place =
        isLast
        ? try text.lastPlace(of: part, in: 0..<text.count, budget)
        : try text.firstPlace(of: part, in: 0..<text.count, budget)
      guard let place else {
        return try .tuple(of: (isLast ? [.empty, .empty, text] : [text, .empty, .empty]).map(Value.string))
      }
      return try .tuple(
        of: [.string(text[0..<place]), .string(part), .string(text[place + part.count..<text.count])])
    case "removeprefix":
      let part = try string(arguments.positional(1...1, of: name)[0], name)
      return .string(text.hasPrefix(part) ? text[part.count..<text.count] : text)
    case "removesuffix":
      let part = try string(arguments.positional(1...1, of: name)[0], name)
      return .string(
        !part.isEmpty && text.hasPrefix(part, at: text.count - part.count) ? text[0..<text.count - part.count] : text)
    default: return nil
    }
  }

  private func split(_ text: Text, _ separator: Value?, limit: Int, fromEnd: Bool) throws -> [Text] {
    switch separator {
    case nil, .some(.none): return fromEnd ? splitSpaceFromEnd(text, limit) : splitSpace(text, limit)
    case .some(.string(let part)):
      guard !part.isEmpty else { throw TemplateError.valueError("empty separator") }
      var pieces: [Text] = []
      if fromEnd {
        var end = text.count
        while pieces.count < limit, let place = try text.lastPlace(of: part, in: 0..<end, budget) {
          pieces.append(text[place + part.count..<end])
          end = place
        }
        return [text[0..<end]] + pieces.reversed()
      }
      var start = 0
      for place in try text.places(of: part, limit: limit, budget) {
        pieces.append(text[start..<place])
        start = place + part.count
      }
      return pieces + [text[start..<text.count]]
    case .some(let value): throw TemplateError.typeError("must be str or None, not \(value.typeName)")
    }
  }

  private func splitSpace(_ text: Text, _ limit: Int) -> [Text] {
    var pieces: [Text] = []
    var index = 0
    while true {
      while index < text.count, CharacterClass.isSpace(text.code(index)) { index += 1 }
      guard index < text.count else { return pieces }
      if pieces.count == limit {
        return pieces + [text[index..<text.count].stripped(left: false)]
      }
      let start = index
      while index < text.count, !CharacterClass.isSpace(text.code(index)) { index += 1 }
      pieces.append(text[start..<index])
    }
  }

  private func splitSpaceFromEnd(_ text: Text, _ limit: Int) -> [Text] {
    var pieces: [Text] = []
    var index = text.count
    while true {
      while index > 0, CharacterClass.isSpace(text.code(index - 1)) { index -= 1 }
      guard index > 0 else { return pieces.reversed() }
      if pieces.count == limit { return [text[0..<index].stripped(right: false)] + pieces.reversed() }
      let end = index
      while index > 0, !CharacterClass.isSpace(text.code(index - 1)) { index -= 1 }
      pieces.append(text[index..<end])
    }
  }

  // MARK: Classes

  private func classMethod(_ name: String, _ text: Text, _ arguments: CallArguments) throws -> Value? {
    let result: Bool
    switch name {
    case "isspace": result = text.isAll(CharacterClass.isSpace)
    case "isalpha": result = text.isAll(CharacterClass.isLetter)
    case "isdecimal": result = text.isAll(CharacterClass.isDecimal)
    case "isdigit": result = text.isAll(CharacterClass.isDigit)
    case "isnumeric": result = text.isAll(CharacterClass.isNumeric)
    case "isalnum": result = text.isAll { CharacterClass.isLetter($0) || CharacterClass.isNumeric($0) }
    case "isascii": result = text.isEmpty || text.isAll { $0 < 0x80 }
    case "isprintable": result = text.isEmpty || text.isAll(CharacterClass.isPrintable)
    case "islower": result = text.isAll(.lower)
    case "isupper": result = text.isAll(.upper)
    case "isidentifier":
      result =
        text.isAll { Unicode.Scalar($0)?.properties.isXIDContinue ?? false }
        && (text.code(0) == 0x5F || Unicode.Scalar(text.code(0))?.properties.isXIDStart ?? false)
    default: return nil
    }
    _ = try arguments.positional(0...0, of: name)
    return .bool(result)
  }
}
