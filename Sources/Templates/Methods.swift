import TemplateSyntax

/// Python's methods.
struct Methods: ValueFunctions {
  let budget: TemplateBudget

  func call(_ method: Method, _ arguments: CallArguments) throws -> Value {
    switch method.receiver {
    case .string(let text): return try StringMethods(budget: budget).call(method.name, of: text, arguments)
    case .dict(let mapping): return try dictMethod(method.name, mapping, arguments)
    case .list(let items), .tuple(let items):
      return try listMethod(method.name, method.receiver, items.values, arguments)
    case .loop(let loop):
      let values = try arguments.positional(0...Int.max - 1, of: method.name)
      if method.name == "changed" { return .bool(try loop.changed(values)) }
      guard !values.isEmpty else { throw TemplateError.typeError("no items for cycling given") }
      return values[loop.index0 % values.count]
    default: throw TemplateError.unsupported("the method '\(method.name)'")
    }
  }

  private func dictMethod(_ name: String, _ mapping: Mapping, _ arguments: CallArguments) throws -> Value {
    switch name {
    case "get":
      let given = try arguments.positional(1...2, of: name)
      return try mapping[Key(given[0])] ?? (given.count > 1 ? given[1] : .none)
    case "keys", "values", "items":
      _ = try arguments.positional(0...0, of: name)
      return .view(name == "keys" ? .keys : name == "values" ? .values : .items, mapping)
    case "copy":
      _ = try arguments.positional(0...0, of: name)
      return .dict(mapping)
    default: throw TemplateError.unsupported("the method '\(name)' of a dict")
    }
  }

  private func listMethod(_ name: String, _ value: Value, _ items: [Value], _ arguments: CallArguments) throws -> Value
  {
    try budget.step(items.count / 8)
    switch name {
    case "copy":
      _ = try arguments.positional(0...0, of: name)
      return value
    case "count":
      let wanted = try arguments.positional(1...1, of: name)[0]
      return .integer(try items.count { try Value.areEqual($0, wanted) })
    default:
      let given = try arguments.positional(1...3, of: name)
      let range = try bounds(given.dropFirst(), items.count)
      guard let index = try items[range].firstIndex(where: { try Value.areEqual($0, given[0]) }) else {
        throw TemplateError.valueError("\(try text(given[0]).string.prefix(100)) is not in \(value.typeName)")
      }
      return .integer(index)
    }
  }
}
