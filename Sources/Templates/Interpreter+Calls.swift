/// The arguments of a call, filter or test.
struct CallArguments {
  var positional: [Value] = []
  var keywords: [(name: String, value: Value)] = []

  /// The values of these parameters, nil where none was given.
  func bound(to parameters: [String], required: Int = 0, of function: String) throws -> [Value?] {
    guard positional.count <= parameters.count else {
      throw TemplateError.typeError(
        "\(function)() takes at most \(parameters.count) arguments (\(positional.count) given)")
    }
    var values: [Value?] = positional + Array(repeating: nil, count: parameters.count - positional.count)
    for (name, value) in keywords {
      guard let index = parameters.firstIndex(of: name) else {
        throw TemplateError.typeError("\(function)() got an unexpected keyword argument '\(name)'")
      }
      guard values[index] == nil else {
        throw TemplateError.typeError("\(function)() got multiple values for argument '\(name)'")
      }
      values[index] = value
    }
    for index in 0..<required where values[index] == nil {
      throw TemplateError.typeError("\(function)() missing required argument: '\(parameters[index])'")
    }
    return values
  }

  /// The same where Python allows no names.
  func positional(_ counts: ClosedRange<Int>, of function: String) throws -> [Value] {
    guard keywords.isEmpty else { throw TemplateError.typeError("\(function)() takes no keyword arguments") }
    guard counts.contains(positional.count) else {
      throw TemplateError.typeError(
        "\(function)() takes \(counts.lowerBound) to \(counts.upperBound) arguments (\(positional.count) given)")
    }
    return positional
  }
}

extension Interpreter {
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
    case .method(let method): return try call(method, arguments)
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
      guard index.magnitude < 1 << 62 else { throw Self.tooLarge }
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
