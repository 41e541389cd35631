/// What a polynomial is built over: a prime under a root, the imaginary unit, a letter, a constant or a function's value.
///
/// Atoms are equal when their keys are. No algebraic relation holds between different atoms except those that
/// `Polynomial` reduces, so that a polynomial is zero exactly when it has no terms.
package struct Atom: Hashable, Comparable, Sendable {
  package enum Kind: Hashable, Sendable {
    /// A prime number: occurs with exponents between 0 and 1 only.
    case prime(Int)
    case imaginaryUnit
    case symbol
    /// A sum under a root: occurs with exponents between 0 and 1 only.
    case sum(Polynomial)
  }

  package let key: String
  package let kind: Kind

  package static func prime(_ value: Int) -> Atom { Atom(key: "\(value)", kind: .prime(value)) }
  package static func symbol(_ name: String) -> Atom { Atom(key: name, kind: .symbol) }
  package static func sum(_ polynomial: Polynomial) -> Atom { Atom(key: "(\(polynomial.key))", kind: .sum(polynomial)) }
  package static let imaginaryUnit = Atom(key: "i", kind: .imaginaryUnit)
  package static let degree = Atom.symbol("°")
  package static let infinity = Atom.symbol("∞")

  package static func == (a: Atom, b: Atom) -> Bool { a.key == b.key }
  package static func < (a: Atom, b: Atom) -> Bool { a.key < b.key }
  package func hash(into hasher: inout Hasher) { hasher.combine(key) }
}

/// A product of powers of atoms, in the order of the atoms' keys, no exponent zero.
package struct Monomial: Hashable, Sendable {
  package struct Factor: Hashable, Sendable {
    package var atom: Atom
    package var exponent: ExactRational
  }

  package var factors: [Factor] = []

  package var key: String {
    factors.map { $0.exponent == .one ? $0.atom.key : "\($0.atom.key)^\($0.exponent.text)" }.joined(separator: "*")
  }

  package func times(_ other: Monomial) throws(Unreadable) -> Monomial {
    var result: [Factor] = []
    result.reserveCapacity(factors.count + other.factors.count)
    var (i, j) = (0, 0)
    while i < factors.count || j < other.factors.count {
      if j == other.factors.count || (i < factors.count && factors[i].atom < other.factors[j].atom) {
        result.append(factors[i])
        i += 1
      } else if i == factors.count || other.factors[j].atom < factors[i].atom {
        result.append(other.factors[j])
        j += 1
      } else {
        let exponent = try factors[i].exponent.plus(other.factors[j].exponent)
        if !exponent.isZero { result.append(Factor(atom: factors[i].atom, exponent: exponent)) }
        i += 1
        j += 1
      }
    }
    return Monomial(factors: result)
  }
}

/// A sum of monomials with rational coefficients, reduced: whole powers of primes are part of the coefficient, `i^2 = -1`.
package struct Polynomial: Hashable, Sendable {
  package var constant: ExactRational
  /// By monomial, none of them empty and no coefficient zero.
  package var terms: [Monomial: ExactRational] = [:]

  package static let zero = Polynomial(.zero)
  package static let one = Polynomial(.one)
  private static let maximumTerms = 512

  package init(_ constant: ExactRational) { self.constant = constant }

  package init(_ atom: Atom, exponent: ExactRational = .one) {
    constant = .zero
    terms = [Monomial(factors: [.init(atom: atom, exponent: exponent)]): .one]
  }

  package var isZero: Bool { constant.isZero && terms.isEmpty }
  /// The value when no atom occurs.
  package var rational: ExactRational? { terms.isEmpty ? constant : nil }
  package var termCount: Int { terms.count + (constant.isZero ? 0 : 1) }

  /// The same text for equal polynomials and for no others.
  package var key: String {
    if terms.isEmpty { return constant.text }
    var parts = terms.map { monomial, coefficient in
      coefficient == .one ? monomial.key : "\(coefficient.text)*\(monomial.key)"
    }
    parts.sort()
    if !constant.isZero { parts.append(constant.text) }
    return parts.joined(separator: "+")
  }

  /// The names of the letters that occur.
  package var symbols: Set<String> {
    var names: Set<String> = []
    for monomial in terms.keys {
      for factor in monomial.factors {
        switch factor.atom.kind {
        case .symbol: names.insert(factor.atom.key)
        case .sum(let inner): names.formUnion(inner.symbols)
        case .prime, .imaginaryUnit: break
        }
      }
    }
    return names
  }

  /// The only term, where there is one.
  package var singleTerm: (monomial: Monomial, coefficient: ExactRational)? {
    if terms.isEmpty { return constant.isZero ? nil : (Monomial(), constant) }
    guard terms.count == 1, constant.isZero, let term = terms.first else { return nil }
    return (term.key, term.value)
  }

  package func negated() -> Polynomial {
    var result = self
    result.constant = constant.negated
    result.terms = terms.mapValues(\.negated)
    return result
  }

  package func plus(_ other: Polynomial, _ budget: inout WorkBudget) throws(Unreadable) -> Polynomial {
    if terms.isEmpty, other.terms.isEmpty { return Polynomial(try constant.plus(other.constant)) }
    try budget.spend(min(terms.count, other.terms.count) + 1)
    var (result, added) = terms.count >= other.terms.count ? (self, other) : (other, self)
    result.constant = try constant.plus(other.constant)
    for (monomial, coefficient) in added.terms { try result.add(monomial, coefficient) }
    added.terms = [:]
    return result
  }

  private mutating func add(_ monomial: Monomial, _ coefficient: ExactRational) throws(Unreadable) {
    if monomial.factors.isEmpty {
      constant = try constant.plus(coefficient)
      return
    }
    let sum = try terms[monomial].map { value throws(Unreadable) in try value.plus(coefficient) } ?? coefficient
    terms[monomial] = sum.isZero ? nil : sum
    guard terms.count <= Self.maximumTerms else { throw .tooLong }
  }

  package func scaled(by factor: ExactRational) throws(Unreadable) -> Polynomial {
    if factor.isZero { return .zero }
    if factor == .one { return self }
    var result = Polynomial(try constant.times(factor))
    for (monomial, coefficient) in terms { result.terms[monomial] = try coefficient.times(factor) }
    return result
  }

  package func times(_ other: Polynomial, _ budget: inout WorkBudget) throws(Unreadable) -> Polynomial {
    if other.terms.isEmpty { return try scaled(by: other.constant) }
    if terms.isEmpty { return try other.scaled(by: constant) }
    try budget.spend((terms.count + 1) * (other.terms.count + 1))
    var result = Polynomial(try constant.times(other.constant))
    for (monomial, coefficient) in terms {
      if !other.constant.isZero { try result.add(monomial, coefficient.times(other.constant)) }
    }
    for (right, second) in other.terms {
      if !constant.isZero { try result.add(right, second.times(constant)) }
      for (left, first) in terms {
        let reduced = try Self.reduced(left.times(right), first.times(second), &budget)
        if reduced.terms.isEmpty {
          result.constant = try result.constant.plus(reduced.constant)
        } else {
          for (monomial, coefficient) in reduced.terms { try result.add(monomial, coefficient) }
          result.constant = try result.constant.plus(reduced.constant)
        }
      }
    }
    return result
  }

  /// A product of atoms with the whole powers of primes, of `i` and of sums under roots carried out.
  package static func reduced(_ monomial: Monomial, _ coefficient: ExactRational, _ budget: inout WorkBudget)
    throws(Unreadable) -> Polynomial
  {
    var coefficient = coefficient
    var factors: [Monomial.Factor] = []
    var sums: [(Polynomial, Int)] = []
    for factor in monomial.factors {
      let whole = factor.exponent.floor
      switch factor.atom.kind {
      case .symbol:
        factors.append(factor)
        continue
      case .imaginaryUnit:
        guard let exponent = factor.exponent.integer else { throw Unreadable("a root of i is not evaluated") }
        let rest = ((exponent % 4) + 4) % 4
        if rest >= 2 { coefficient = coefficient.negated }
        if rest % 2 == 1 { factors.append(.init(atom: factor.atom, exponent: .one)) }
        continue
      case .prime(let value):
        guard let power = Int(exactly: whole) else { throw .tooLarge }
        if power != 0 { coefficient = try coefficient.times(ExactRational(value).power(power)) }
      case .sum(let polynomial):
        guard whole >= 0, let power = Int(exactly: whole) else {
          factors.append(factor)
          continue
        }
        if power > 0 { sums.append((polynomial, power)) }
      }
      let rest = try factor.exponent.plus(ExactRational(integer: -whole))
      if !rest.isZero { factors.append(.init(atom: factor.atom, exponent: rest)) }
    }
    var result = Polynomial(.zero)
    try result.add(Monomial(factors: factors), coefficient)
    for (polynomial, power) in sums {
      for _ in 0..<power { result = try result.times(polynomial, &budget) }
    }
    return result
  }

  /// The conjugate with respect to the first square root of a prime, or `i`, that occurs: the sign of that atom changed.
  package func conjugate() -> Polynomial? {
    let half = (try? ExactRational(1, over: 2)) ?? .one
    var chosen: Atom?
    for monomial in terms.keys {
      for factor in monomial.factors {
        switch factor.atom.kind {
        case .imaginaryUnit: break
        case .prime: if factor.exponent != half { return nil }
        case .symbol, .sum: return nil
        }
        if chosen == nil || factor.atom < chosen! { chosen = factor.atom }
      }
    }
    guard let chosen else { return nil }
    var result = self
    for (monomial, coefficient) in terms where monomial.factors.contains(where: { $0.atom == chosen }) {
      result.terms[monomial] = coefficient.negated
    }
    return result
  }
}
