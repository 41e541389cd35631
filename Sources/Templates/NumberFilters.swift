import TemplateSyntax

/// jinja2's filters of numbers.
struct NumberFilters: ValueFunctions {
  let budget: TemplateBudget

  func apply(_ name: String, _ value: Value, _ arguments: CallArguments) throws -> Value? {
    switch name {
    case "abs":
      _ = try arguments.positional(0...0, of: name)
      if let index = value.index {
        guard index != .min else { throw TemplateError.tooLarge }
        return .integer(abs(index))
      }
      guard case .float(let number) = value else {
        throw TemplateError.typeError("bad operand type for abs(): '\(value.typeName)'")
      }
      return .float(number.magnitude)
    case "int": return try toInteger(value, arguments)
    case "float":
      let given = try arguments.bound(to: ["default"], of: name)
      return try toFloat(value).map(Value.float) ?? given[0] ?? .float(0)
    case "round": return try round(value, arguments)
    default: return nil
    }
  }

  /// `float(value)`, nil where Python raises a `TypeError` or `ValueError`.
  private func toFloat(_ value: Value) throws -> Double? {
    if case .undefined(let undefined) = value { throw undefined.error }
    if let number = value.number { return number }
    guard case .string(let text) = value else { return nil }
    return PythonNumber.float(text)
  }

  private func toInteger(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["default", "base"], of: "int")
    let fallback = given[0] ?? .integer(0)
    if case .undefined(let undefined) = value { throw undefined.error }
    if let index = value.index { return .integer(index) }
    if case .string(let text) = value {
      let base = try given[1].map { try integer($0) } ?? 10
      guard base == 0 || (2...36).contains(base) else { return fallback }
      if let read = try PythonNumber.integer(text, base: base) { return .integer(read) }
    } else if case .float(let number) = value, number.isInfinite {
      throw TemplateError(.failed, "OverflowError: cannot convert float infinity to integer")
    }
    guard let number = try toFloat(value), number.isFinite else { return fallback }
    guard let whole = Int(exactly: number.rounded(.towardZero)) else { throw TemplateError.tooLarge }
    return .integer(whole)
  }

  private func round(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["precision", "method"], of: "round")
    let precision = try given[0].map { try integer($0) } ?? 0
    var method = "common"
    if let value = given[1] {
      guard case .string(let text) = value, ["common", "ceil", "floor"].contains(text.string) else {
        throw TemplateError(.failed, "FilterArgumentError: method must be common, ceil or floor")
      }
      method = text.string
    }
    guard (0...100).contains(precision) else { throw TemplateError.unsupported("round to \(precision) digits") }
    if case .undefined = value { throw TemplateError.typeError("type Undefined doesn't define __round__ method") }
    guard let number = value.number else {
      throw TemplateError.typeError("type \(value.typeName) doesn't define __round__ method")
    }
    if method == "common" {
      if let index = value.index { return .integer(index) }
      guard number.isFinite else { return value }
      return .float(Double(FloatPower.digits(number, kind: "f", precision: precision)) ?? number)
    }
    guard number.isFinite, number.magnitude < 1e15, precision <= 15 else {
      throw TemplateError.unsupported("round \(method) of so large a number")
    }
    var scale = 1.0
    for _ in 0..<precision { scale *= 10 }
    return .float((number * scale).rounded(method == "ceil" ? .up : .down) / scale)
  }
}
