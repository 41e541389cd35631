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
    case .attribute(let value, let name): return try attribute(name, of: evaluate(value, scope))
    case .item(let value, let index):
      let value = try evaluate(value, scope)
      if case .slice(let start, let stop, let step) = index.kind {
        return try slice(
          value, start.map { try evaluate($0, scope) }, stop.map { try evaluate($0, scope) },
          step.map { try evaluate($0, scope) })
      }
      return try item(evaluate(index, scope), of: value)
    case .slice: throw TemplateError.unsupported("a slice among several subscripts")
    case .call(let callee, let arguments):
      let callee = try evaluate(callee, scope)
      return try call(callee, evaluate(arguments, scope))
    case .filter(let value, let filter): return try apply(filter, to: evaluate(value, scope), scope)
    case .test(let value, let test): return try evaluateTest(value, test, scope)
    case .unary(let unary, let value): return try evaluate(unary, evaluate(value, scope))
    case .binary(let binary, let left, let right):
      let left = try evaluate(left, scope)
      return try evaluate(binary, left, evaluate(right, scope))
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
        guard try compare(left, comparison, right) else { return .bool(false) }
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

  private func compare(_ left: Value, _ comparison: Expression.Comparison, _ right: Value) throws -> Bool {
    try budget.step(1)
    switch comparison {
    case .equal: return try Value.areEqual(left, right)
    case .notEqual: return try !Value.areEqual(left, right)
    case .less: return try Value.isLess(left, right, "<")
    case .greater: return try Value.isLess(right, left, ">")
    case .lessOrEqual: return try Value.isLessOrEqual(left, right, "<=")
    case .greaterOrEqual: return try Value.isLessOrEqual(right, left, ">=")
    case .contained: return try Value.contains(right, left, budget)
    case .notContained: return try !Value.contains(right, left, budget)
    }
  }

  private func evaluate(_ unary: Expression.Unary, _ value: Value) throws -> Value {
    if unary == .not { return .bool(!value.isTrue) }
    if case .undefined(let undefined) = value { throw undefined.error }
    let isNegative = unary == .negative
    if let index = value.index {
      guard isNegative else { return .integer(index) }
      let (negated, overflows) = 0.subtractingReportingOverflow(index)
      guard !overflows else { throw Self.tooLarge }
      return .integer(negated)
    }
    if case .float(let number) = value { return .float(isNegative ? -number : number) }
    throw TemplateError.typeError("bad operand type for unary \(isNegative ? "-" : "+"): '\(value.typeName)'")
  }

  static var tooLarge: TemplateError { .unsupported("an integer beyond 64 bits") }
}
