import TemplateSyntax

extension Interpreter {
  func evaluate(_ expression: Expression, _ scope: Scope) throws -> Value {
    switch expression.kind {
    case .literal(let literal): return literal.value
    case .name(let name): return scope[name] ?? global(template.names[name])
    default: return try at(line: expression.line) { try evaluateInner(expression, scope) }
    }
  }

  private func global(_ name: String) -> Value {
    Function(rawValue: name).map(Value.function) ?? .undefined(Undefined(name: name))
  }

  private func evaluateInner(_ expression: Expression, _ scope: Scope) throws -> Value {
    switch expression.kind {
    case .literal(let literal): return literal.value
    case .name: return try evaluate(expression, scope)
    case .list(let items):
      try budget.charge(elements: items.count)
      return try .list(of: items.map { try evaluate($0, scope) })
    case .tuple(let items):
      try budget.charge(elements: items.count)
      return try .tuple(of: items.map { try evaluate($0, scope) })
    case .dict(let pairs):
      try budget.charge(elements: 2 * pairs.count)
      return .dict(try Mapping(try pairs.map { (try evaluate($0, scope), try evaluate($1, scope)) }))
    case .attribute(let value, let name): return try attributes.attribute(name, of: evaluate(value, scope))
    case .item(let value, let index):
      let value = try evaluate(value, scope)
      if case .slice(let start, let stop, let step) = index.kind {
        return try attributes.slice(
          value, start.map { try evaluate($0, scope) }, stop.map { try evaluate($0, scope) },
          step.map { try evaluate($0, scope) })
      }
      return try attributes.item(evaluate(index, scope), of: value)
    case .slice: throw TemplateError.unsupported("a slice among several subscripts")
    case .call(let callee, let arguments):
      let callee = try evaluate(callee, scope)
      return try call(callee, evaluate(arguments, scope))
    case .filter(let value, let filter): return try apply(filter, to: evaluate(value, scope), scope)
    case .test(let value, let test): return try evaluateTest(value, test, scope)
    case .unary(let unary, let value): return try operators.evaluate(unary, evaluate(value, scope))
    case .binary(let binary, let left, let right):
      let left = try evaluate(left, scope)
      return try operators.evaluate(binary, left, evaluate(right, scope))
    case .concatenation(let parts):
      var result = Text.empty
      for part in parts {
        let text = try text(evaluate(part, scope))
        try budget.charge(text.count)
        result.units += text.units
      }
      return .string(result)
    case .comparison(let first, let rest):
      var left = try evaluate(first, scope)
      for (comparison, expression) in rest {
        let right = try evaluate(expression, scope)
        guard try operators.compare(left, comparison, right) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    case .and(let left, let right):
      let value = try evaluate(left, scope)
      return value.isTrue ? try evaluate(right, scope) : value
    case .or(let left, let right):
      let value = try evaluate(left, scope)
      return value.isTrue ? value : try evaluate(right, scope)
    case .conditional(let condition, let then, let otherwise):
      if try evaluate(condition, scope).isTrue { return try evaluate(then, scope) }
      guard let otherwise else {
        return .undefined(
          Undefined(
            "the inline if-expression on line \(expression.line) evaluated to false and no else section was defined."))
      }
      return try evaluate(otherwise, scope)
    }
  }

  func apply(_ filter: FilterCall, to value: Value, _ scope: Scope) throws -> Value {
    try at(line: filter.line) { try filters.apply(filter.name, to: value, evaluate(filter.arguments, scope)) }
  }

  func evaluateTest(_ expression: Expression, _ test: FilterCall, _ scope: Scope) throws -> Value {
    let value = try evaluate(expression, scope)
    return .bool(try tests.passes(test.name, value, evaluate(test.arguments, scope)))
  }

  // MARK: Calls

  func evaluate(_ arguments: Arguments, _ scope: Scope) throws -> CallArguments {
    var values = CallArguments()
    values.positional = try arguments.positional.map { try evaluate($0, scope) }
    values.keywords = try arguments.keywords.map { ($0.name, try evaluate($0.value, scope)) }
    if let unpacked = arguments.unpacked { values.positional += try elements(evaluate(unpacked, scope)) }
    if let unpacked = arguments.unpackedKeywords {
      guard case .dict(let mapping) = try evaluate(unpacked, scope) else {
        throw TemplateError.typeError("argument after ** must be a mapping")
      }
      for (key, value) in mapping.pairs {
        guard case .string(let name) = key else { throw TemplateError.typeError("keywords must be strings") }
        guard !values.keywords.contains(where: { $0.name == name.string }) else {
          throw TemplateError.typeError("got multiple values for keyword argument '\(name.string)'")
        }
        values.keywords.append((name.string, value))
      }
    }
    return values
  }

  func call(_ callee: Value, _ arguments: CallArguments) throws -> Value {
    switch callee {
    case .undefined(let undefined): throw undefined.error
    case .macro(let macro): return try call(macro, arguments)
    case .function(let function): return try call(function, arguments)
    case .method(let method): return try Methods(budget: budget).call(method, arguments)
    case .loop(let loop):
      let elements = try arguments.positional(1...1, of: "loop")[0]
      guard let recurse = loop.recurse else {
        throw TemplateError.typeError("The loop must have the 'recursive' marker to be called recursively.")
      }
      return try recurse(elements)
    default: throw TemplateError.typeError("'\(callee.typeName)' object is not callable")
    }
  }

  // MARK: Macros

  private func call(_ macro: Macro, _ arguments: CallArguments) throws -> Value {
    let definition = macro.definition
    guard let outer = macro.scope else { throw TemplateError(.failed, "RuntimeError: the macro's template has ended") }
    let scope = newScope(parent: outer, body: definition.body.scope)
    let mentions = template.mentions[definition.body.scope] ?? []
    let count = definition.parameters.count
    let shownName = definition.name.map { "'\($0)'" } ?? "None"
    var keywords = arguments.keywords
    func take(_ name: String) -> Value? {
      guard let index = keywords.firstIndex(where: { $0.name == name }) else { return nil }
      return keywords.remove(at: index).value
    }
    var given: [Value?] = Array(arguments.positional.prefix(count))
    let takesCaller = definition.parameterNames.contains("caller")
    for name in definition.parameterNames.dropFirst(given.count) { given.append(take(name)) }
    if mentions.contains(template.caller), !takesCaller {
      var caller = take("caller")
      if case .some(.none) = caller { caller = nil }
      scope[template.caller] = caller ?? .undefined(Undefined("No caller defined"))
    }
    if mentions.contains(template.kwargs), !definition.parameterNames.contains("kwargs") {
      scope[template.kwargs] = .dict(try Mapping(keywords.map { (.string($0.name), $0.value) }))
    } else if let name = keywords.first?.name {
      throw TemplateError.typeError("macro \(shownName) takes no keyword argument '\(name)'")
    }
    if mentions.contains(template.varargs), !definition.parameterNames.contains("varargs") {
      scope[template.varargs] = try .tuple(of: Array(arguments.positional.dropFirst(count)))
    } else if arguments.positional.count > count {
      throw TemplateError.typeError("macro \(shownName) takes not more than \(count) argument(s)")
    }
    try fill(scope, definition, given)
    return .string(try collected { _ = try run(definition.body.statements, scope) })
  }

  private func fill(_ scope: Scope, _ definition: MacroDefinition, _ given: [Value?]) throws {
    for (parameter, value) in zip(definition.parameters, given) {
      scope[parameter] = value ?? .undefined(Undefined(name: template.names[parameter]))
    }
    let firstDefault = definition.parameters.count - definition.defaults.count
    for (index, parameter) in definition.parameters.enumerated() where given[index] == nil {
      scope[parameter] =
        index >= firstDefault
        ? try evaluate(definition.defaults[index - firstDefault], scope)
        : .undefined(Undefined("parameter '\(template.names[parameter])' was not provided"))
    }
  }

  // MARK: Functions

  private func call(_ function: Function, _ arguments: CallArguments) throws -> Value {
    switch function {
    case .range: return .range(try range(arguments.positional(1...3, of: "range")))
    case .dict: return .dict(try Mapping(pairs(arguments)))
    case .namespace:
      let namespace = newNamespace()
      for (name, value) in try pairs(arguments) {
        guard case .string(let name) = name else {
          throw TemplateError.unsupported("a namespace's name that is no text")
        }
        try checkAttributeName(name)
        namespace[name] = value
      }
      return .namespace(namespace)
    case .raiseException:
      let message = try arguments.bound(to: ["message"], required: 1, of: "raise_exception")[0] ?? .none
      throw TemplateError(.raised, try text(message).string)
    case .strftimeNow:
      let format = try arguments.bound(to: ["format"], required: 1, of: "strftime_now")[0] ?? .none
      guard case .string(let format) = format else {
        throw TemplateError.typeError("strftime() argument 1 must be str, not \(format.typeName)")
      }
      try budget.charge(format.count * 4)
      return .string(try clock().formatted(format))
    case .lipsum, .cycler, .joiner, .template: throw TemplateError.unsupported("the function '\(function.rawValue)'")
    }
  }

  private func range(_ values: [Value]) throws -> NumberRange {
    let bounds = try values.map {
      guard let index = $0.index else {
        throw TemplateError.typeError("'\($0.typeName)' object cannot be interpreted as an integer")
      }
      guard index.magnitude < 1 << 62 else { throw TemplateError.tooLarge }
      return index
    }
    let range = NumberRange(
      start: bounds.count > 1 ? bounds[0] : 0, stop: bounds.count > 1 ? bounds[1] : bounds[0],
      step: bounds.count > 2 ? bounds[2] : 1)
    guard range.step != 0 else { throw TemplateError.valueError("range() arg 3 must not be zero") }
    guard range.count <= 100_000 else {
      throw TemplateError(
        .failed, "OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).")
    }
    return range
  }

  /// `dict(mapping or pairs, name=value)`
  private func pairs(_ arguments: CallArguments) throws -> [(Value, Value)] {
    var pairs: [(Value, Value)] = []
    for source in try CallArguments(positional: arguments.positional).positional(0...1, of: "dict") {
      if case .dict(let mapping) = source {
        pairs += mapping.pairs
      } else {
        for element in try elements(source) {
          let pair = try elements(element)
          guard pair.count == 2 else {
            throw TemplateError.valueError("dictionary update sequence element has length \(pair.count); 2 is required")
          }
          pairs.append((pair[0], pair[1]))
        }
      }
    }
    try budget.charge(elements: 2 * pairs.count)
    return pairs + arguments.keywords.map { (.string($0.name), $0.value) }
  }
}
