/// The range of a real number.
public struct NumberRange: Sendable, Hashable {
  public let lower: Double
  public let includesLower: Bool
  public let upper: Double
  public let includesUpper: Bool

  public static func atLeast(_ lower: Double) -> NumberRange { NumberRange(lower, true, .infinity, false) }
  public static func above(_ lower: Double) -> NumberRange { NumberRange(lower, false, .infinity, false) }
  public static func between(_ lower: Double, _ upper: Double) -> NumberRange { NumberRange(lower, true, upper, true) }
  public static func above(_ lower: Double, upTo upper: Double) -> NumberRange {
    NumberRange(lower, false, upper, true)
  }
  public static func above(_ lower: Double, below upper: Double) -> NumberRange {
    NumberRange(lower, false, upper, false)
  }
  public static func from(_ lower: Double, below upper: Double) -> NumberRange {
    NumberRange(lower, true, upper, false)
  }
  public static let any = NumberRange(-.infinity, false, .infinity, false)

  private init(_ lower: Double, _ includesLower: Bool, _ upper: Double, _ includesUpper: Bool) {
    self.lower = lower
    self.includesLower = includesLower
    self.upper = upper
    self.includesUpper = includesUpper
  }

  /// Whether a finite number lies in the range; NaN and infinities lie in none.
  public func contains(_ value: Double) -> Bool {
    value.isFinite && (includesLower ? value >= lower : value > lower)
      && (includesUpper ? value <= upper : value < upper)
  }

  /// As it stands after "a number", with its space: " of 0 to 1"; empty where every number is allowed.
  public var description: String {
    switch (lower.isFinite, upper.isFinite) {
    case (false, false): return ""
    case (false, true): return " \(includesUpper ? "of at most" : "below") \(plainNumber(upper))"
    case (true, false): return " \(includesLower ? "of at least" : "above") \(plainNumber(lower))"
    case (true, true):
      if includesLower && includesUpper { return " of \(plainNumber(lower)) to \(plainNumber(upper))" }
      return " \(includesLower ? "of at least" : "above") \(plainNumber(lower)) and "
        + "\(includesUpper ? "at most" : "below") \(plainNumber(upper))"
    }
  }
}

/// A number as a person writes it: `1`, not `1.0`.
public func plainNumber(_ value: Double) -> String {
  value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
}
