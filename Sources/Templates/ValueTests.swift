import TemplateSyntax

/// jinja2's tests.
struct ValueTests: ValueFunctions {
  let budget: TemplateBudget

  /// `value is name(arguments)`
  func passes(_ name: String, _ value: Value, _ arguments: CallArguments) throws -> Bool {
    guard KnownNames.hasTest(name) else {
      throw TemplateError(.failed, "TemplateRuntimeError: No test named '\(name)' found.")
    }
    let parameter: String? =
      switch name {
      case "divisibleby": "num"
      case "sameas": "other"
      case "in": "seq"
      case "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt", "lessthan", "<=", "le":
        "b"
      default: nil
      }
    if let parameter {
      guard let other = try arguments.bound(to: [parameter], required: 1, of: name)[0] else { return false }
      return try compares(name, value, other)
    }
    _ = try arguments.positional(0...0, of: name)
    switch name {
    case "odd", "even":
      guard case .bool(let isEven) = try compareRemainder(value, 2) else { return false }
      return name == "even" ? isEven : !isEven
    case "defined": if case .undefined = value { return false } else { return true }
    case "undefined": if case .undefined = value { return true } else { return false }
    case "filter", "test":
      let key = try Key(value)
      guard case .string(let other) = key else { return false }
      return name == "filter" ? KnownNames.hasFilter(other.string) : KnownNames.hasTest(other.string)
    case "none": if case .none = value { return true } else { return false }
    case "boolean": if case .bool = value { return true } else { return false }
    case "true": if case .bool(true) = value { return true } else { return false }
    case "false": if case .bool(false) = value { return true } else { return false }
    case "integer": if case .integer = value { return true } else { return false }
    case "float": if case .float = value { return true } else { return false }
    case "number": return value.number != nil
    case "lower": return try text(value).isAll(.lower)
    case "upper": return try text(value).isAll(.upper)
    case "string": if case .string = value { return true } else { return false }
    case "mapping": if case .dict = value { return true } else { return false }
    case "sequence":
      switch value {
      case .string, .list, .tuple, .dict, .range, .undefined: return true
      default: return false
      }
    case "iterable":
      switch value {
      case .none, .bool, .integer, .float, .namespace, .macro, .method, .function: return false
      default: return true
      }
    case "callable":
      switch value {
      case .macro, .method, .function, .loop, .undefined: return true
      default: return false
      }
    case "escaped": if case .string(let text) = value { return text.isMarkup } else { return false }
    default: throw TemplateError.unsupported("the test '\(name)'")
    }
  }

  /// Whether dividing by `divisor` leaves nothing.
  private func compareRemainder(_ value: Value, _ divisor: Int) throws -> Value {
    let remainder = try operators.evaluate(.remainder, value, .integer(divisor))
    guard let number = remainder.number else { return .bool(false) }
    // Of a float between two integers the remainder is neither.
    guard number == 0 || number == 1 else { throw TemplateError.unsupported("a test of odd and even on a fraction") }
    return .bool(number == 0)
  }

  private func compares(_ name: String, _ left: Value, _ right: Value) throws -> Bool {
    switch name {
    case "divisibleby": return try Value.areEqual(operators.evaluate(.remainder, left, right), .integer(0))
    case "in": return try Value.contains(right, left, budget)
    case "==", "eq", "equalto": return try Value.areEqual(left, right)
    case "!=", "ne": return try !Value.areEqual(left, right)
    case ">", "gt", "greaterthan": return try Value.isLess(right, left, ">")
    case "<", "lt", "lessthan": return try Value.isLess(left, right, "<")
    case ">=", "ge": return try Value.isLessOrEqual(right, left, ">=")
    case "<=", "le": return try Value.isLessOrEqual(left, right, "<=")
    default: return try areSame(left, right)
    }
  }

  /// Python's `is`: certain for the values that exist once, and for different types.
  private func areSame(_ left: Value, _ right: Value) throws -> Bool {
    switch (left, right) {
    case (.none, .none): return true
    case (.bool(let left), .bool(let right)): return left == right
    case (.namespace(let left), .namespace(let right)): return left === right
    case (.macro(let left), .macro(let right)): return left === right
    default: break
    }
    guard left.typeName == right.typeName, try Value.areEqual(left, right) else { return false }
    throw TemplateError.unsupported("the test 'sameas' on equal values of type \(left.typeName)")
  }
}
