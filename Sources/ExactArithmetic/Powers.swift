/// Powers, roots, logarithms, factorials and binomials, exactly.
package enum Powers {
  private static let maximumExponent = 64
  /// Whole powers of sums beyond this are kept as they stand.
  private static let maximumExpansion = 24

  /// `base` to the power `exponent`.
  package static func power(_ base: Quotient, _ exponent: Quotient, _ budget: inout WorkBudget) throws(Unreadable)
    -> Quotient
  {
    guard let value = exponent.rational else { return try symbolicPower(base, exponent, &budget) }
    if let whole = value.integer {
      if whole < 0 {
        return try Quotient(.one).divided(by: power(base, Quotient(value.negated), &budget), &budget)
      }
      return try wholePower(base, whole, &budget)
    }
    return try root(base, value, &budget)
  }

  private static func wholePower(_ base: Quotient, _ exponent: Int, _ budget: inout WorkBudget) throws(Unreadable)
    -> Quotient
  {
    if exponent == 0 {
      guard !base.isZero else { throw Unreadable("0 to the power 0 has no value") }
      return Quotient(.one)
    }
    if let value = base.rational { return try rationalWholePower(value, exponent, &budget) }
    if base.isWhole, let (monomial, coefficient) = base.numerator.singleTerm {
      var powered = Monomial()
      for factor in monomial.factors {
        powered.factors.append(
          .init(atom: factor.atom, exponent: try factor.exponent.times(ExactRational(exponent))))
      }
      return Quotient(try Polynomial.reduced(powered, coefficient.power(exponent), &budget))
    }
    guard exponent <= maximumExpansion else {
      return Quotient(Atom.symbol("(\(base.key))^\(exponent)"))
    }
    var result = base
    for _ in 1..<exponent { result = try result.times(base, &budget) }
    return result
  }

  /// A whole power of a rational number; one that does not fit is kept as powers of its primes.
  private static func rationalWholePower(_ base: ExactRational, _ exponent: Int, _ budget: inout WorkBudget)
    throws(Unreadable) -> Quotient
  {
    if let value = try? base.power(exponent) { return Quotient(value) }
    guard exponent < 1_000_000_000 else { throw .tooLarge }
    var monomial = Monomial()
    for (number, sign) in [(base.numerator.magnitude, 1), (base.denominator.magnitude, -1)] {
      for (prime, multiplicity) in try factorised(number, &budget) {
        let factor = Monomial.Factor(
          atom: .symbol("#\(prime)"), exponent: ExactRational(sign * multiplicity * exponent))
        monomial = try monomial.times(Monomial(factors: [factor]))
      }
    }
    let sign: ExactRational = base.isNegative && exponent % 2 == 1 ? .minusOne : .one
    return Quotient(try Polynomial.reduced(monomial, sign, &budget))
  }

  /// A power whose exponent holds letters: the constant part of the exponent is carried out.
  private static func symbolicPower(_ base: Quotient, _ exponent: Quotient, _ budget: inout WorkBudget)
    throws(Unreadable) -> Quotient
  {
    guard exponent.isWhole else { return Quotient(Atom.symbol("[\(base.key)]^[\(exponent.key)]")) }
    var rest = exponent.numerator
    rest.constant = .zero
    let constant = try power(base, Quotient(exponent.numerator.constant), &budget)
    // b^(-n) is 1 / b^n: the sign of the first term decides, so that both spellings meet.
    let isNegative = rest.key.hasPrefix("-")
    let atom = Atom.symbol("[\(base.key)]^[\(isNegative ? rest.negated().key : rest.key)]")
    let factor = Quotient(Polynomial(atom, exponent: isNegative ? .minusOne : .one))
    return try constant.times(factor, &budget)
  }

  /// `base` to a power that is not whole.
  private static func root(_ base: Quotient, _ exponent: ExactRational, _ budget: inout WorkBudget) throws(Unreadable)
    -> Quotient
  {
    guard exponent.denominator <= 1000, exponent.numerator.magnitude <= 1000 else { throw .tooLarge }
    if !base.isWhole {
      return try root(Quotient(base.numerator), exponent, &budget)
        .divided(by: root(Quotient(base.denominator), exponent, &budget), &budget)
    }
    if let (monomial, coefficient) = base.numerator.singleTerm {
      var powered = Monomial()
      for factor in monomial.factors {
        powered.factors.append(.init(atom: factor.atom, exponent: try factor.exponent.times(exponent)))
      }
      let outside = try rationalPower(coefficient, exponent, &budget)
      return Quotient(try outside.times(Polynomial.reduced(powered, .one, &budget), &budget))
    }
    if base.isZero { return base }
    if exponent.denominator == 2, let plain = try denested(base.numerator, &budget) {
      return try wholePowerOfSigned(plain, exponent.numerator, &budget)
    }
    // The content is taken out: \sqrt{8 + 4x} = 2\sqrt{2 + x}.
    let content = try self.content(base.numerator)
    let inner = try base.numerator.scaled(by: ExactRational.one.divided(by: content))
    let outside = try rationalPower(content, exponent, &budget)
    return Quotient(
      try outside.times(
        Polynomial.reduced(
          Monomial(factors: [.init(atom: .sum(inner), exponent: exponent)]), .one, &budget), &budget))
  }

  private static func wholePowerOfSigned(_ base: Quotient, _ exponent: Int128, _ budget: inout WorkBudget)
    throws(Unreadable) -> Quotient
  {
    guard let exponent = Int(exactly: exponent) else { throw .tooLarge }
    return try power(base, Quotient(ExactRational(exponent)), &budget)
  }

  /// The greatest rational that divides all coefficients into whole numbers without a common divisor; positive.
  private static func content(_ polynomial: Polynomial) throws(Unreadable) -> ExactRational {
    var (numerator, denominator): (UInt128, UInt128) = (0, 1)
    for value in Array(polynomial.terms.values) + [polynomial.constant] where !value.isZero {
      var (a, b) = (numerator, value.numerator.magnitude)
      while b != 0 { (a, b) = (b, a % b) }
      numerator = a
      var (c, d) = (denominator, value.denominator.magnitude)
      while d != 0 { (c, d) = (d, c % d) }
      let (least, overflow) = (denominator / c).multipliedReportingOverflow(by: value.denominator.magnitude)
      guard !overflow else { throw .tooLarge }
      denominator = least
    }
    guard let top = Int128(exactly: numerator), let bottom = Int128(exactly: denominator) else { throw .tooLarge }
    return try ExactRational(top, over: bottom)
  }

  /// \sqrt{a + b\sqrt{c}} as \sqrt{(a + d) / 2} ± \sqrt{(a - d) / 2}, where d = \sqrt{a^2 - b^2 c} is rational.
  private static func denested(_ polynomial: Polynomial, _ budget: inout WorkBudget) throws(Unreadable) -> Quotient? {
    guard polynomial.terms.count == 1, let (monomial, coefficient) = polynomial.terms.first,
      polynomial.constant.numerator > 0
    else { return nil }
    for factor in monomial.factors {
      guard case .prime = factor.atom.kind, factor.exponent.denominator == 2 else { return nil }
    }
    let surd = try Polynomial.reduced(monomial, coefficient, &budget)
    guard let square = try surd.times(surd, &budget).rational else { return nil }
    let constant = polynomial.constant
    let difference = try constant.times(constant).plus(square.negated)
    guard !difference.isNegative,
      let root = try rationalPower(difference, ExactRational(1, over: 2), &budget).rational
    else { return nil }
    let half = try ExactRational(1, over: 2)
    let first = try rationalPower(constant.plus(root).times(half), half, &budget)
    let second = try rationalPower(constant.plus(root.negated).times(half), half, &budget)
    return Quotient(try first.plus(coefficient.isNegative ? second.negated() : second, &budget))
  }

  /// A rational number to a rational power, over the primes of its numerator and denominator.
  package static func rationalPower(_ base: ExactRational, _ exponent: ExactRational, _ budget: inout WorkBudget)
    throws(Unreadable) -> Polynomial
  {
    if base.isZero {
      guard exponent.numerator > 0 else { throw Unreadable("it divides by zero") }
      return .zero
    }
    if base == .one { return .one }
    var monomial = Monomial()
    var sign = ExactRational.one
    if base.isNegative {
      if exponent.denominator % 2 == 1 {
        sign = exponent.numerator % 2 == 0 ? .one : .minusOne
      } else if exponent.denominator == 2 {
        // i to an odd power.
        monomial.factors = [.init(atom: .imaginaryUnit, exponent: ExactRational(integer: exponent.numerator))]
      } else {
        throw Unreadable("an even root of a negative number is not evaluated")
      }
    }
    for (number, direction) in [(base.numerator.magnitude, exponent), (base.denominator.magnitude, exponent.negated)] {
      for (prime, multiplicity) in try factorised(number, &budget) {
        let factor = Monomial.Factor(
          atom: .prime(prime), exponent: try direction.times(ExactRational(multiplicity)))
        monomial = try monomial.times(Monomial(factors: [factor]))
      }
    }
    return try Polynomial.reduced(monomial, sign, &budget)
  }

  /// Prime factors by trial division up to a bound; what is left counts as one prime (a square as a square).
  package static func factorised(_ number: UInt128, _ budget: inout WorkBudget) throws(Unreadable) -> [(
    prime: Int, Int
  )] {
    guard var rest = Int(exactly: number), rest < 1 << 52 else { throw .tooLarge }
    var result: [(prime: Int, Int)] = []
    var divisor = 2
    while divisor * divisor <= rest, divisor < 2000 {
      var multiplicity = 0
      while rest % divisor == 0 {
        rest /= divisor
        multiplicity += 1
      }
      if multiplicity > 0 { result.append((divisor, multiplicity)) }
      divisor += divisor == 2 ? 1 : 2
    }
    try budget.spend(2 + divisor / 32)
    if rest > 1 {
      let root = Int(Double(rest).squareRoot().rounded())
      result.append(root * root == rest ? (root, 2) : (rest, 1))
    }
    return result
  }

  /// The natural logarithm: over the logarithms of primes for a positive rational number, otherwise a symbol.
  package static func logarithm(_ value: Quotient, name: String, _ budget: inout WorkBudget) throws(Unreadable)
    -> Quotient
  {
    if let rational = value.rational {
      guard rational.numerator > 0 else { throw Unreadable("the logarithm of \(rational.text) has no value") }
      var sum = Polynomial.zero
      for (number, sign) in [(rational.numerator.magnitude, 1), (rational.denominator.magnitude, -1)] {
        for (prime, multiplicity) in try factorised(number, &budget) {
          let part = Polynomial(Atom.symbol("\(name)(\(prime))"))
          sum = try sum.plus(part.scaled(by: ExactRational(sign * multiplicity)), &budget)
        }
      }
      return Quotient(sum)
    }
    if name == "ln", value.isWhole, let (monomial, coefficient) = value.numerator.singleTerm, coefficient == .one,
      monomial.factors.count == 1, monomial.factors[0].atom.key == "e"
    {
      return Quotient(monomial.factors[0].exponent)
    }
    return Quotient(Atom.symbol("\(name)(\(value.key))"))
  }

  package static func factorial(_ value: Quotient) throws(Unreadable) -> Quotient {
    guard let rational = value.rational else { return Quotient(Atom.symbol("(\(value.key))!")) }
    guard let number = rational.integer, number >= 0 else {
      throw Unreadable("the factorial of \(rational.text) is not evaluated")
    }
    guard number <= 33 else { return Quotient(Atom.symbol("\(number)!")) }
    var result = ExactRational.one
    for factor in stride(from: 2, through: number, by: 1) { result = try result.times(ExactRational(factor)) }
    return Quotient(result)
  }

  package static func binomial(_ upper: Quotient, _ lower: Quotient) throws(Unreadable) -> Quotient {
    guard let n = upper.rational?.integer, let k = lower.rational?.integer, n >= 0, n <= 1000 else {
      return Quotient(Atom.symbol("binom(\(upper.key),\(lower.key))"))
    }
    guard k >= 0, k <= n else { return Quotient(.zero) }
    let symbol = Quotient(Atom.symbol("binom(\(n),\(min(k, n - k)))"))
    var result = ExactRational.one
    for step in stride(from: 1, through: min(k, n - k), by: 1) {
      guard let next = try? result.times(ExactRational(Int128(n - step + 1), over: Int128(step))) else { return symbol }
      result = next
    }
    return Quotient(result)
  }
}
