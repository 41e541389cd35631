import JSON

/// How far computed numbers are from expected ones: |a - b| <= 1e-5 max(|b|, m) + 1e-7, m the largest magnitude of all
/// numbers under one key of `expected`; booleans, strings and integers exactly.
struct CaseComparison {
  /// The largest difference, as a share of what is allowed: above 1 is too far.
  private(set) var worst = 0.0
  /// Where it is, and what it is.
  private(set) var place = ""
  private(set) var detail = ""

  /// - Parameter key: of `expected`, for the place.
  init(key: String, computed: JSONValue, expected: JSONValue) {
    compare(computed, expected, magnitude: Self.magnitude(expected), path: key)
  }

  private static func magnitude(_ value: JSONValue) -> Double {
    switch value {
    case .array(let values): values.reduce(0) { max($0, magnitude($1)) }
    case .object(let object): object.members.reduce(0) { max($0, magnitude($1.value)) }
    default: abs(value.doubleValue ?? 0)
    }
  }

  private mutating func compare(_ computed: JSONValue, _ expected: JSONValue, magnitude: Double, path: String) {
    switch (computed, expected) {
    case (.array(let left), .array(let right)):
      guard left.count == right.count else {
        return note(.infinity, path, "\(left.count) elements, expected \(right.count)")
      }
      for index in left.indices { compare(left[index], right[index], magnitude: magnitude, path: "\(path)[\(index)]") }
    case (.object(let left), .object(let right)):
      for (key, value) in right.members {
        guard let own = left[key] else { return note(.infinity, "\(path).\(key)", "is missing") }
        compare(own, value, magnitude: magnitude, path: "\(path).\(key)")
      }
      for (key, _) in left.members where right[key] == nil {
        note(.infinity, "\(path).\(key)", "is not expected")
      }
    case (.integer, .integer), (.bool, .bool), (.string, .string), (.null, .null):
      if computed != expected {
        note(.infinity, path, "\(computed.encoded(indent: nil)), expected \(expected.encoded(indent: nil))")
      }
    default:
      guard let left = computed.doubleValue, let right = expected.doubleValue else {
        return note(.infinity, path, "\(computed.kind), expected \(expected.kind)")
      }
      let allowed = 1e-5 * max(abs(right), magnitude) + 1e-7
      note(abs(left - right) / allowed, path, "\(left), expected \(right)")
    }
  }

  private mutating func note(_ excess: Double, _ path: String, _ text: String) {
    // A NaN is worse than anything.
    let excess = excess.isNaN ? .infinity : excess
    guard excess > worst || (place.isEmpty && excess >= worst) else { return }
    (worst, place, detail) = (excess, path, text)
  }
}
