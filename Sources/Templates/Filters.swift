import TemplateSyntax

/// jinja2's filters.
struct Filters: ValueFunctions {
  let budget: TemplateBudget

  /// `value|name(arguments)`
  func apply(_ name: String, to value: Value, _ arguments: CallArguments) throws -> Value {
    guard KnownNames.hasFilter(name) else {
      throw TemplateError(.failed, "TemplateRuntimeError: No filter named '\(name)' found.")
    }
    if let result = try TextFilters(budget: budget).apply(name, value, arguments) { return result }
    if let result = try NumberFilters(budget: budget).apply(name, value, arguments) { return result }
    if let result = try SequenceFilters(budget: budget).apply(name, value, arguments) { return result }
    switch name {
    case "default", "d":
      let given = try arguments.bound(to: ["default_value", "boolean"], of: name)
      if case .undefined = value { return given[0] ?? .string(Text.empty) }
      return (given[1]?.isTrue ?? false) && !value.isTrue ? given[0] ?? .string(Text.empty) : value
    case "attr":
      guard case .string(let attribute)? = try arguments.bound(to: ["name"], required: 1, of: name)[0] else {
        throw TemplateError.typeError("attribute name must be string")
      }
      if case .undefined(let undefined) = value { throw undefined.error }
      let own = try attributes.attribute(attribute.string, of: value)
      // Unlike `value.name` it does not look for an element.
      if case .dict(let mapping) = value, mapping[attribute.string] != nil, case .method = own { return own }
      if case .dict(let mapping) = value, mapping[attribute.string] != nil {
        return .undefined(Undefined("'dict object' has no attribute '\(attribute.string)'"))
      }
      return own
    case "tojson": return try toJSON(value, arguments)
    case "items":
      _ = try arguments.positional(0...0, of: name)
      return .iterator(
        try LazyItems(around: value) {
          if case .undefined = value { return [] }
          guard case .dict(let mapping) = value else {
            throw TemplateError.typeError("Can only get item pairs from a mapping.")
          }
          try budget.charge(elements: 3 * mapping.count)
          return try mapping.part(.items)
        })
    default: throw TemplateError.unsupported("the filter '\(name)'")
    }
  }

  private func toJSON(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["ensure_ascii", "indent", "separators", "sort_keys"], of: "tojson")
    var indentation: Text?
    switch given[1] {
    case nil, .some(.none): break
    case .some(.string(let text)): indentation = text
    case .some(let value):
      guard let width = value.index else {
        throw TemplateError.typeError("can't multiply sequence by non-int of type '\(value.typeName)'")
      }
      guard width <= 1 << 12 else { throw TemplateError(.limit, "tojson indents by \(width)") }
      indentation = Text(String(repeating: " ", count: max(width, 0)))
    }
    var separators: (Text, Text)?
    if let value = given[2] {
      if case .none = value {
      } else {
        let pair = try elements(value)
        guard pair.count == 2, case .string(let item) = pair[0], case .string(let key) = pair[1] else {
          throw TemplateError.unsupported("separators of tojson that are no two texts")
        }
        separators = (item, key)
      }
    }
    var dump = JSONDump(
      ensuresASCII: given[0]?.isTrue ?? false, indentation: indentation, separators: separators,
      sortsKeys: given[3]?.isTrue ?? false)
    try dump.write(value, budget)
    return .string(dump.text)
  }
}
