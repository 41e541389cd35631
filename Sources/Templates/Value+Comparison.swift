import TemplateSyntax

extension Value {
  /// Python's `bool()`.
  var isTrue: Bool {
    switch self {
    case .none, .undefined: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .float(let value): value != 0
    case .string(let text): !text.isEmpty
    case .list(let items), .tuple(let items): !items.values.isEmpty
    case .dict(let mapping), .view(_, let mapping): mapping.count > 0
    case .range(let range): range.count > 0
    case .iterator, .namespace, .macro, .method, .function, .loop: true
    }
  }

  /// The integer of a number that Python counts as one.
  var index: Int? {
    switch self {
    case .integer(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  /// The number as a float.
  var number: Double? {
    switch self {
    case .float(let value): value
    default: index.map(Double.init)
    }
  }

  static func areEqual(_ left: [Value], _ right: [Value]) throws -> Bool {
    guard left.count == right.count else { return false }
    for (left, right) in zip(left, right) where try !areEqual(left, right) { return false }
    return true
  }

  /// Python's `==`.
  static func areEqual(_ left: Value, _ right: Value) throws -> Bool {
    switch (left, right) {
    case (.none, .none): return true
    case (.string(let left), .string(let right)): return left == right
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      return try left === right || areEqual(left.values, right.values)
    case (.dict(let left), .dict(let right)):
      if left === right { return true }
      guard left.count == right.count else { return false }
      for (key, value) in zip(left.keys, left.values) {
        guard let other = right[try Key(key)], try areEqual(value, other) else { return false }
      }
      return true
    case (.range(let left), .range(let right)):
      return left.count == right.count && (left.count == 0 || left.start == right.start)
        && (left.count < 2 || left.step == right.step)
    case (.undefined, .undefined): return true
    case (.namespace(let left), .namespace(let right)): return left === right
    case (.macro(let left), .macro(let right)): return left === right
    case (.loop(let left), .loop(let right)): return left === right
    case (.iterator(let left), .iterator(let right)): return left === right
    case (.function(let left), .function(let right)): return left == right
    case (.view, .view), (.method, .method): throw TemplateError.unsupported("comparing \(left.typeName) values")
    default: break
    }
    if let left = left.index, let right = right.index { return left == right }
    guard let left = left.number, let right = right.number else { return false }
    return left == right
  }

  /// Python's `<`, of values that have an order.
  static func isLess(_ left: Value, _ right: Value, _ symbol: String = "<") throws -> Bool {
    switch (left, right) {
    case (.undefined(let undefined), _), (_, .undefined(let undefined)): throw undefined.error
    case (.string(let left), .string(let right)): return left < right
    case (.list(let leftItems), .list(let rightItems)), (.tuple(let leftItems), .tuple(let rightItems)):
      for (left, right) in zip(leftItems.values, rightItems.values) where try !areEqual(left, right) {
        return try isLess(left, right, symbol)
      }
      return leftItems.values.count < rightItems.values.count
    default: break
    }
    if let left = left.index, let right = right.index { return left < right }
    if let left = left.number, let right = right.number { return left < right }
    throw TemplateError.typeError(
      "'\(symbol)' not supported between instances of '\(left.typeName)' and '\(right.typeName)'")
  }

  /// `<=`, which of numbers that are no numbers is not the opposite of `>`.
  static func isLessOrEqual(_ left: Value, _ right: Value, _ symbol: String) throws -> Bool {
    try isLess(left, right, symbol) || areEqual(left, right)
  }

  /// The elements that a `for` runs over.
  func elements(_ budget: TemplateBudget) throws -> [Value] {
    switch self {
    case .string(let text):
      try budget.charge(elements: text.count)
      return text.units.map { .string(Text(units: [$0])) }
    case .list(let items), .tuple(let items): return items.values
    case .dict(let mapping): return mapping.keys
    case .view(let part, let mapping):
      try budget.charge(elements: mapping.count)
      return try mapping.part(part)
    case .range(let range):
      try budget.charge(elements: range.count)
      return (0..<range.count).map(range.value)
    case .iterator(let items): return try items.takeAll()
    case .undefined: return []
    case .loop: throw TemplateError.unsupported("iterating over loop")
    default: throw TemplateError.typeError("'\(typeName)' object is not iterable")
    }
  }

  /// Python's `len()`.
  func length() throws -> Int {
    switch self {
    case .string(let text): return text.count
    case .list(let items), .tuple(let items): return items.values.count
    case .dict(let mapping), .view(_, let mapping): return mapping.count
    case .range(let range): return range.count
    case .loop(let loop): return try loop.length()
    case .undefined: return 0
    default: throw TemplateError.typeError("object of type '\(typeName)' has no len()")
    }
  }

  /// `left in right`.
  static func contains(_ right: Value, _ left: Value, _ budget: TemplateBudget) throws -> Bool {
    switch right {
    case .string(let text):
      guard case .string(let part) = left else {
        throw TemplateError.typeError("'in <string>' requires string as left operand, not \(left.typeName)")
      }
      return try text.firstPlace(of: part, in: 0..<text.count, budget) != nil
    case .dict(let mapping), .view(.keys, let mapping): return try mapping[Key(left)] != nil
    case .range(let range):
      guard let value = left.index else {
        if case .float = left { return try right.elements(budget).contains { try areEqual($0, left) } }
        return false
      }
      let offset = value.subtractingReportingOverflow(range.start).partialValue
      return offset % range.step == 0 && (0..<range.count).contains(offset / range.step)
    case .none, .bool, .integer, .float, .namespace, .macro, .method, .function:
      throw TemplateError.typeError("argument of type '\(right.typeName)' is not iterable")
    case .iterator(let items):
      while let value = try items.takeFirst() {
        try budget.step()
        if try areEqual(value, left) { return true }
      }
      return false
    default:
      for value in try right.elements(budget) {
        try budget.step()
        if try areEqual(value, left) { return true }
      }
      return false
    }
  }
}
