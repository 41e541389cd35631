/// Why an answer has no value that can be compared.
package struct Unreadable: Error, Equatable {
  package var reason: String

  package init(_ reason: String) { self.reason = reason }

  package static let tooLarge = Unreadable("a number in it does not fit 128 bits")
  package static let tooLong = Unreadable("it takes too many steps to evaluate")
}

/// How much work one answer may take: a bound on time that depends on nothing but the text.
package struct WorkBudget {
  private var left: Int

  package init(_ amount: Int = 20_000) { left = amount }

  package mutating func spend(_ amount: Int) throws(Unreadable) {
    left -= amount
    if left < 0 { throw .tooLong }
  }
}

/// A rational number of 128 bits in lowest terms with a positive denominator; operations throw where it does not fit.
package struct ExactRational: Hashable, Comparable, Sendable {
  package let numerator: Int128
  package let denominator: Int128

  package static let zero = ExactRational(0)
  package static let one = ExactRational(1)
  package static let minusOne = ExactRational(-1)

  package init(_ integer: Int) {
    numerator = Int128(integer)
    denominator = 1
  }

  package init(integer: Int128) {
    numerator = integer
    denominator = 1
  }

  package init(_ numerator: Int128, over denominator: Int128) throws(Unreadable) {
    guard denominator != 0 else { throw Unreadable("it divides by zero") }
    // The most negative value has no magnitude.
    guard numerator != .min, denominator != .min else { throw .tooLarge }
    let divisor = Self.greatestCommonDivisor(numerator.magnitude, denominator.magnitude)
    let sign: Int128 = denominator < 0 ? -1 : 1
    self.numerator = sign * numerator / Int128(divisor)
    self.denominator = sign * denominator / Int128(divisor)
  }

  private static func greatestCommonDivisor(_ first: UInt128, _ second: UInt128) -> UInt128 {
    if second == 1 { return 1 }
    if let small = UInt64(exactly: first), let other = UInt64(exactly: second) {
      var (a, b) = (small, other)
      while b != 0 { (a, b) = (b, a % b) }
      return UInt128(a)
    }
    var (a, b) = (first, second)
    while b != 0 { (a, b) = (b, a % b) }
    return a
  }

  package var isZero: Bool { numerator == 0 }
  package var isInteger: Bool { denominator == 1 }
  package var isNegative: Bool { numerator < 0 }
  package var negated: ExactRational { ExactRational(unchecked: -numerator, denominator) }
  /// The value as a machine integer, where it is one.
  package var integer: Int? { isInteger ? Int(exactly: numerator) : nil }

  private init(unchecked numerator: Int128, _ denominator: Int128) {
    self.numerator = numerator
    self.denominator = denominator
  }

  package func plus(_ other: ExactRational) throws(Unreadable) -> ExactRational {
    if denominator == 1, other.denominator == 1 {
      let (sum, overflow) = numerator.addingReportingOverflow(other.numerator)
      guard !overflow, sum != .min else { throw .tooLarge }
      return ExactRational(integer: sum)
    }
    let (sum, overflow) = try Self.product(numerator, other.denominator)
      .addingReportingOverflow(Self.product(other.numerator, denominator))
    guard !overflow else { throw .tooLarge }
    return try ExactRational(sum, over: Self.product(denominator, other.denominator))
  }

  package func times(_ other: ExactRational) throws(Unreadable) -> ExactRational {
    if denominator == 1, other.denominator == 1 {
      return ExactRational(integer: try Self.product(numerator, other.numerator))
    }
    // Reduced crosswise first, so that nothing overflows that would fit.
    let left = try ExactRational(numerator, over: other.denominator)
    let right = try ExactRational(other.numerator, over: denominator)
    return try ExactRational(
      Self.product(left.numerator, right.numerator), over: Self.product(left.denominator, right.denominator))
  }

  package func divided(by other: ExactRational) throws(Unreadable) -> ExactRational {
    try times(ExactRational(other.denominator, over: other.numerator))
  }

  /// This value to a whole power.
  package func power(_ exponent: Int) throws(Unreadable) -> ExactRational {
    if exponent < 0 { return try ExactRational.one.divided(by: self).power(-exponent) }
    if numerator == 0 || self == .one { return exponent == 0 ? .one : self }
    if self == .minusOne { return exponent % 2 == 0 ? .one : self }
    guard exponent < 128 else { throw .tooLarge }
    var result = ExactRational.one
    for _ in 0..<exponent { result = try result.times(self) }
    return result
  }

  /// The largest whole number that is not above this value.
  package var floor: Int128 {
    let quotient = numerator / denominator
    return numerator < 0 && quotient * denominator != numerator ? quotient - 1 : quotient
  }

  private static func product(_ a: Int128, _ b: Int128) throws(Unreadable) -> Int128 {
    let (result, overflow) = a.multipliedReportingOverflow(by: b)
    guard !overflow, result != .min else { throw .tooLarge }
    return result
  }

  /// Exact for all values: the products are taken at 256 bits.
  package static func < (a: ExactRational, b: ExactRational) -> Bool {
    if a.denominator == b.denominator { return a.numerator < b.numerator }
    let left = a.numerator.multipliedFullWidth(by: b.denominator)
    let right = b.numerator.multipliedFullWidth(by: a.denominator)
    return left.high == right.high ? left.low < right.low : left.high < right.high
  }

  /// `3`, `-1/2`.
  package var text: String { isInteger ? String(numerator) : "\(numerator)/\(denominator)" }
}
