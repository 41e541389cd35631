import TemplateSyntax

/// Python's operators.
struct Operators: ValueFunctions {
  let budget: TemplateBudget

  func evaluate(_ binary: Expression.Binary, _ left: Value, _ right: Value) throws -> Value {
    // A text before `%` formats whatever follows.
    if binary == .remainder, case .string(let format) = left {
      return .string(try PercentFormat(budget: budget).format(format, right))
    }
    for case .undefined(let undefined) in [left, right] { throw undefined.error }
    switch binary {
    case .add: if let value = try concatenate(left, right) { return value }
    case .multiply: if let value = try `repeat`(left, right) { return value }
    default: break
    }
    if let left = left.index, let right = right.index { return try integers(binary, left, right) }
    if let left = left.number, let right = right.number { return try floats(binary, left, right) }
    throw TemplateError.typeError(
      "unsupported operand type(s) for \(binary.rawValue): '\(left.typeName)' and '\(right.typeName)'")
  }

  private func concatenate(_ left: Value, _ right: Value) throws -> Value? {
    switch (left, right) {
    case (.string(let left), .string(let right)):
      if left.isMarkup != right.isMarkup {
        let escaped = left.isMarkup ? (left, try escape(right)) : (try escape(left), right)
        return .string(try joined(escaped.0, escaped.1))
      }
      return .string(try joined(left, right))
    case (.list(let left), .list(let right)):
      try budget.charge(elements: left.values.count + right.values.count)
      return try .list(of: left.values + right.values)
    case (.tuple(let left), .tuple(let right)):
      try budget.charge(elements: left.values.count + right.values.count)
      return try .tuple(of: left.values + right.values)
    case (.string, _):
      throw TemplateError.typeError("can only concatenate str (not \"\(right.typeName)\") to str")
    default: return nil
    }
  }

  private func joined(_ left: Text, _ right: Text) throws -> Text {
    try budget.charge(left.count + right.count)
    return Text(units: left.units + right.units, isMarkup: left.isMarkup)
  }

  private func `repeat`(_ left: Value, _ right: Value) throws -> Value? {
    func times(_ count: Int, _ length: Int, cost: Int) throws -> Int {
      let (total, overflows) = max(count, 0).multipliedReportingOverflow(by: length * cost)
      try budget.charge(overflows ? Int.max : total)
      return max(count, 0)
    }
    for (value, factor) in [(left, right), (right, left)] {
      guard let count = factor.index else { continue }
      switch value {
      case .string(let text):
        let count = text.isEmpty ? 0 : try times(count, text.count, cost: 1)
        return .string(
          Text(units: Array([Array](repeating: text.units, count: count).joined()), isMarkup: text.isMarkup))
      case .list(let items):
        let count = items.values.isEmpty ? 0 : try times(count, items.values.count, cost: 10)
        return try .list(of: Array([Array](repeating: items.values, count: count).joined()))
      case .tuple(let items):
        let count = items.values.isEmpty ? 0 : try times(count, items.values.count, cost: 10)
        return try .tuple(of: Array([Array](repeating: items.values, count: count).joined()))
      default: continue
      }
    }
    return nil
  }

  private func integers(_ binary: Expression.Binary, _ left: Int, _ right: Int) throws -> Value {
    func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> Value {
      guard !result.overflow else { throw TemplateError.tooLarge }
      return .integer(result.partialValue)
    }
    func nonzero(_ message: String) throws {
      if right == 0 { throw TemplateError(.failed, "ZeroDivisionError: " + message) }
    }
    switch binary {
    case .add: return try checked(left.addingReportingOverflow(right))
    case .subtract: return try checked(left.subtractingReportingOverflow(right))
    case .multiply: return try checked(left.multipliedReportingOverflow(by: right))
    case .divide:
      try nonzero("division by zero")
      guard left.magnitude <= 1 << 53, right.magnitude <= 1 << 53 else { throw TemplateError.tooLarge }
      return .float(Double(left) / Double(right))
    case .floorDivide:
      try nonzero("integer division or modulo by zero")
      let (quotient, overflows) = left.dividedReportingOverflow(by: right)
      guard !overflows else { throw TemplateError.tooLarge }
      return .integer(quotient * right != left && (left < 0) != (right < 0) ? quotient - 1 : quotient)
    case .remainder:
      try nonzero("integer division or modulo by zero")
      guard right != -1 else { return .integer(0) }
      let remainder = left % right
      return .integer(remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder)
    case .power:
      if right < 0 { return try floats(.power, Double(left), Double(right)) }
      var result = 1
      var base = left
      var exponent = right
      while exponent > 0 {
        if exponent & 1 == 1 {
          let (product, overflows) = result.multipliedReportingOverflow(by: base)
          guard !overflows else { throw TemplateError.tooLarge }
          result = product
        }
        exponent >>= 1
        guard exponent > 0 else { break }
        let (square, overflows) = base.multipliedReportingOverflow(by: base)
        guard !overflows else { throw TemplateError.tooLarge }
        base = square
      }
      return .integer(result)
    }
  }

  private func floats(_ binary: Expression.Binary, _ left: Double, _ right: Double) throws -> Value {
    func nonzero(_ message: String) throws {
      if right == 0 { throw TemplateError(.failed, "ZeroDivisionError: " + message) }
    }
    func remainder() -> Double {
      var remainder = left.truncatingRemainder(dividingBy: right)
      if remainder != 0 {
        if (right < 0) != (remainder < 0) { remainder += right }
      } else {
        remainder = right < 0 ? -0.0 : 0.0
      }
      return remainder
    }
    switch binary {
    case .add: return .float(left + right)
    case .subtract: return .float(left - right)
    case .multiply: return .float(left * right)
    case .divide:
      try nonzero("float division by zero")
      return .float(left / right)
    case .floorDivide:
      try nonzero("float floor division by zero")
      let quotient = (left - remainder()) / right
      guard quotient != 0 else { return .float(left / right < 0 ? -0.0 : 0.0) }
      let floor = quotient.rounded(.down)
      return .float(quotient - floor > 0.5 ? floor + 1 : floor)
    case .remainder:
      try nonzero("float modulo")
      return .float(remainder())
    case .power: return .float(try FloatPower.power(left, right))
    }
  }

  func compare(_ left: Value, _ comparison: Expression.Comparison, _ right: Value) throws -> Bool {
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

  func evaluate(_ unary: Expression.Unary, _ value: Value) throws -> Value {
    if unary == .not { return .bool(!value.isTrue) }
    if case .undefined(let undefined) = value { throw undefined.error }
    let isNegative = unary == .negative
    if let index = value.index {
      guard isNegative else { return .integer(index) }
      let (negated, overflows) = 0.subtractingReportingOverflow(index)
      guard !overflows else { throw TemplateError.tooLarge }
      return .integer(negated)
    }
    if case .float(let number) = value { return .float(isNegative ? -number : number) }
    throw TemplateError.typeError("bad operand type for unary \(isNegative ? "-" : "+"): '\(value.typeName)'")
  }
}
