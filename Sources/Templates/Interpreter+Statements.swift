import TemplateSyntax

extension Interpreter {
  /// How a list of statements ended.
  enum Flow { case finished, leftLoop, nextElement }

  func run(_ statements: [Statement], _ scope: Scope) throws -> Flow {
    for statement in statements {
      let flow = try at(line: statement.line) { try run(statement, scope) }
      if flow != .finished { return flow }
    }
    return .finished
  }

  private func run(_ statement: Statement, _ scope: Scope) throws -> Flow {
    switch statement.kind {
    case .text(let text): try write(text)
    case .output(let expression): try write(text(evaluate(expression, scope)))
    case .loop(let loop): return try run(loop, scope)
    case .condition(let branches, let otherwise):
      for (condition, body) in branches where try evaluate(condition, scope).isTrue { return try run(body, scope) }
      return try run(otherwise, scope)
    case .set(let target, let expression): try assign(evaluate(expression, scope), to: target, scope)
    case .setBlock(let target, let filters, let body):
      guard let text = try collected(body, scope) else { return .leftLoop }
      var value = Value.string(text)
      for filter in filters { value = try apply(filter, to: value, scope) }
      try assign(value, to: target, scope)
    case .macro(let name, let definition): scope[name] = .macro(newMacro(definition, scope))
    case .call(let callee, let arguments, let definition):
      let callee = try evaluate(callee, scope)
      var values = try evaluate(arguments, scope)
      values.keywords.append(("caller", .macro(newMacro(definition, scope))))
      try write(text(call(callee, values)))
    case .filter(let filters, let body):
      guard let text = try collected(body, scope) else { return .leftLoop }
      var value = Value.string(text)
      for filter in filters { value = try apply(filter, to: value, scope) }
      guard case .string(let filtered) = value else {
        throw TemplateError.typeError("sequence item: expected str instance, \(value.typeName) found")
      }
      try write(filtered)
    case .with(let pairs, let body):
      let values = try pairs.map { try evaluate($0.1, scope) }
      let inner = newScope(parent: scope, body: body.scope)
      for (pair, value) in zip(pairs, values) { try assign(value, to: pair.0, inner) }
      return try run(body.statements, inner)
    case .generation(let body):
      _ = try run(body.statements, newScope(parent: scope, body: body.scope))
    case .leaveLoop: return .leftLoop
    case .nextElement: return .nextElement
    }
    return .finished
  }

  /// The text of a body; nil when it left a loop around it.
  private func collected(_ body: Body, _ scope: Scope) throws -> Text? {
    var flow = Flow.finished
    let text = try collected { flow = try run(body.statements, newScope(parent: scope, body: body.scope)) }
    guard flow != .nextElement else {
      throw TemplateError.unsupported("'continue' inside a set or filter block")
    }
    return flow == .finished ? text : nil
  }

  func assign(_ value: Value, to target: Target, _ scope: Scope) throws {
    switch target {
    case .name(let name): scope[name] = value
    case .attribute(let name, let attribute):
      guard case .namespace(let namespace)? = scope[name] else {
        throw TemplateError(.failed, "TemplateRuntimeError: cannot assign attribute on non-namespace object")
      }
      try checkAttributeName(Text(attribute))
      try budget.charge(elements: 1)
      namespace[Text(attribute)] = value
    case .tuple(let targets):
      let values: [Value]
      do { values = try elements(value) } catch let error as TemplateError where error.message.contains("not iterable")
      {
        throw TemplateError.typeError("cannot unpack non-iterable \(value.typeName) object")
      }
      guard values.count == targets.count else {
        throw TemplateError.valueError(
          values.count > targets.count
            ? "too many values to unpack (expected \(targets.count))"
            : "not enough values to unpack (expected \(targets.count), got \(values.count))")
      }
      for (target, value) in zip(targets, values) { try assign(value, to: target, scope) }
    }
  }

  func checkAttributeName(_ name: Text) throws {
    if name.hasPrefix("_") {
      throw TemplateError(
        .failed, "SecurityError: Chat templates cannot store underscore-prefixed attributes on a namespace")
    }
  }

  // MARK: Loops

  private func run(_ loop: ForStatement, _ scope: Scope) throws -> Flow {
    let source = try evaluate(loop.elements, scope)
    guard loop.isRecursive else { return try run(loop, over: source, scope, depth: 0) }
    let text = try collected { _ = try run(loop, over: source, scope, depth: 0) }
    try write(text)
    return .finished
  }

  private func run(_ statement: ForStatement, over source: Value, _ scope: Scope, depth: Int) throws -> Flow {
    var passes: ((Value) throws -> Bool)?
    if let condition = statement.condition {
      passes = { [unowned self] value in
        let inner = Scope(parent: scope)
        try assign(value, to: statement.target, inner)
        return try evaluate(condition, inner).isTrue
      }
    }
    let loop = newLoop(try Loop(elements(source), depth0: depth, passes: passes))
    if statement.isRecursive {
      loop.recurse = { [unowned self] inner in
        let text = try collected { _ = try run(statement, over: inner, scope, depth: depth + 1) }
        return .string(text)
      }
    }
    // As in jinja2, an iteration that `continue` or `break` cuts short does not count for `else`.
    var hasFinished = false
    iterations: while let value = try loop.next() {
      let inner = newScope(parent: scope, body: statement.body.scope)
      inner[template.loop] = .loop(loop)
      try assign(value, to: statement.target, inner)
      switch try run(statement.body.statements, inner) {
      case .finished: hasFinished = true
      case .leftLoop: break iterations
      case .nextElement: continue
      }
    }
    guard let otherwise = statement.otherwise, !hasFinished else { return .finished }
    return try run(otherwise.statements, newScope(parent: scope, body: otherwise.scope))
  }
}
