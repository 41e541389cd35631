/// The exact value of an expression: a quotient of polynomials.
package struct Quotient {
  package var numerator: Polynomial
  /// Not zero; one unless it has several terms that cannot be carried to the numerator.
  package var denominator: Polynomial

  package init(_ numerator: Polynomial, _ denominator: Polynomial = .one) {
    self.numerator = numerator
    self.denominator = denominator
  }

  package init(_ value: ExactRational) { self.init(Polynomial(value)) }
  package init(_ atom: Atom) { self.init(Polynomial(atom)) }

  package var rational: ExactRational? { denominator == .one ? numerator.rational : nil }
  package var isWhole: Bool { denominator.terms.isEmpty }
  package var symbols: Set<String> { numerator.symbols.union(denominator.symbols) }
  package var isZero: Bool { numerator.isZero }

  /// The same text for equal values, where `isWhole`; otherwise a spelling.
  package var key: String { isWhole ? numerator.key : "(\(numerator.key))/(\(denominator.key))" }

  package func negated() -> Quotient { Quotient(numerator.negated(), denominator) }

  package func plus(_ other: Quotient, _ budget: inout WorkBudget) throws(Unreadable) -> Quotient {
    if denominator == other.denominator {
      return Quotient(try numerator.plus(other.numerator, &budget), denominator)
    }
    let left = try numerator.times(other.denominator, &budget)
    let right = try other.numerator.times(denominator, &budget)
    return Quotient(try left.plus(right, &budget), try denominator.times(other.denominator, &budget))
  }

  package func times(_ other: Quotient, _ budget: inout WorkBudget) throws(Unreadable) -> Quotient {
    let product = try numerator.times(other.numerator, &budget)
    if isWhole, other.isWhole { return Quotient(product) }
    return try Quotient(product, denominator.times(other.denominator, &budget)).normalised(&budget)
  }

  package func divided(by other: Quotient, _ budget: inout WorkBudget) throws(Unreadable) -> Quotient {
    guard !other.isZero else { throw Unreadable("it divides by zero") }
    if let value = rational, let divisor = other.rational { return Quotient(try value.divided(by: divisor)) }
    return try Quotient(
      numerator.times(other.denominator, &budget), denominator.times(other.numerator, &budget)
    ).normalised(&budget)
  }

  /// Carries a denominator of one term to the numerator, and rationalises one of square roots.
  private func normalised(_ budget: inout WorkBudget) throws(Unreadable) -> Quotient {
    var (top, bottom) = (numerator, denominator)
    // Each conjugate removes one root; more than a few do not occur in answers.
    for _ in 0..<6 where bottom.termCount > 1 {
      guard let conjugate = bottom.conjugate() else { break }
      top = try top.times(conjugate, &budget)
      bottom = try bottom.times(conjugate, &budget)
    }
    guard let (monomial, coefficient) = bottom.singleTerm else {
      guard !bottom.isZero else { throw Unreadable("it divides by zero") }
      return Quotient(top, bottom)
    }
    if monomial.factors.contains(where: { $0.atom == .infinity }) { throw Unreadable("it divides by infinity") }
    var inverse = Monomial()
    inverse.factors = monomial.factors.map { .init(atom: $0.atom, exponent: $0.exponent.negated) }
    let factor = try Polynomial.reduced(inverse, ExactRational.one.divided(by: coefficient), &budget)
    return Quotient(try top.times(factor, &budget))
  }

  package func equals(_ other: Quotient, _ budget: inout WorkBudget) throws(Unreadable) -> Bool {
    if isWhole, other.isWhole { return numerator == other.numerator }
    return try numerator.times(other.denominator, &budget) == other.numerator.times(denominator, &budget)
  }
}
