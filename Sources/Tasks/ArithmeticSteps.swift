/// A chain of operations worked by hand: products first, then from left to right, column by column.
struct ArithmeticSteps {
  private(set) var lines: [String] = []
  private(set) var result = 0
  /// A result on the way, or the last one, was below zero.
  private(set) var wentNegative = false

  /// - Parameters:
  ///   - values: operands, not negative.
  ///   - operations: one fewer.
  init(values: [Int], operations: [ArithmeticTask.Operation]) {
    var terms = [values[0]]
    var signs: [ArithmeticTask.Operation] = []
    for (operation, value) in zip(operations, values.dropFirst()) {
      if operation == .multiply {
        terms[terms.count - 1] = multiply(terms[terms.count - 1], value)
      } else {
        signs.append(operation)
        terms.append(value)
      }
    }
    result = terms[0]
    for (sign, term) in zip(signs, terms.dropFirst()) {
      result = sign == .add ? add(result, term) : subtract(result, term)
      if result < 0 { wentNegative = true }
    }
  }

  /// a + b, b not negative.
  private mutating func add(_ a: Int, _ b: Int) -> Int {
    let written = "\(a) + \(b)"
    if a >= 0 {
      line(written, Self.sumColumns(a, b), a + b)
    } else if b >= -a {
      line("\(written) = \(b) - \(-a)", Self.differenceColumns(b, -a), a + b)
    } else {
      line("\(written) = -(\(-a) - \(b))", Self.differenceColumns(-a, b), a + b)
    }
    return a + b
  }

  /// a - b, b not negative.
  private mutating func subtract(_ a: Int, _ b: Int) -> Int {
    let written = "\(a) - \(b)"
    if a >= b {
      line(written, Self.differenceColumns(a, b), a - b)
    } else if a >= 0 {
      line("\(written) = -(\(b) - \(a))", Self.differenceColumns(b, a), a - b)
    } else {
      line("\(written) = -(\(-a) + \(b))", Self.sumColumns(-a, b), a - b)
    }
    return a - b
  }

  /// a * b, neither negative: one line per digit of the shorter factor, then the sum of the parts.
  private mutating func multiply(_ a: Int, _ b: Int) -> Int {
    let (long, short) = a >= b || b < 10 ? (a, b) : (b, a)
    guard short >= 10 else {
      line("\(a) * \(b)", Self.productColumns(long, short), a * b)
      return a * b
    }
    var scale = 1
    var total: Int?
    for digit in Self.digits(short) {
      if digit > 0 {
        let part = long * digit * scale
        line("\(long) * \(digit * scale)", Self.productColumns(long, digit), part)
        total = total.map { add($0, part) } ?? part
      }
      scale *= 10
    }
    return total ?? 0
  }

  private mutating func line(_ written: String, _ columns: [String], _ value: Int) {
    // A single column is the whole story: "7 + 8 = 15".
    if columns.count == 1, columns[0] == "\(written) = \(value)" {
      lines.append(columns[0])
    } else {
      lines.append("\(written): \(columns.joined(separator: "; ")). \(value)")
    }
  }

  /// Units first; 0 has one digit.
  private static func digits(_ value: Int) -> [Int] {
    var result = [value % 10]
    var rest = value / 10
    while rest > 0 {
      result.append(rest % 10)
      rest /= 10
    }
    return result
  }

  private static func sumColumns(_ a: Int, _ b: Int) -> [String] {
    let (x, y) = (digits(a), digits(b))
    let count = max(x.count, y.count)
    var carry = 0
    return (0..<count).map { column in
      var terms: [Int] = []
      if column < x.count { terms.append(x[column]) }
      if column < y.count { terms.append(y[column]) }
      if carry > 0 { terms.append(carry) }
      let sum = terms.reduce(0, +)
      carry = sum / 10
      let written = terms.map(String.init).joined(separator: " + ")
      let equation = terms.count > 1 ? "\(written) = \(sum)" : written
      return carry > 0 && column + 1 < count ? "\(equation), write \(sum % 10) carry \(carry)" : equation
    }
  }

  /// a >= b.
  private static func differenceColumns(_ a: Int, _ b: Int) -> [String] {
    let (x, y) = (digits(a), digits(b))
    var borrow = 0
    return x.indices.map { column in
      let subtracted = (column < y.count ? y[column] : 0) + borrow
      var written = ""
      if column < y.count { written += " - \(y[column])" }
      if borrow > 0 { written += " - \(borrow)" }
      borrow = subtracted > x[column] ? 1 : 0
      let top = x[column] + 10 * borrow
      if written.isEmpty { return String(top) }
      return "\(top)\(written) = \(top - subtracted)" + (borrow > 0 ? ", borrow 1" : "")
    }
  }

  /// a times a single digit.
  private static func productColumns(_ a: Int, _ digit: Int) -> [String] {
    let x = digits(a)
    var carry = 0
    return x.indices.map { column in
      let sum = x[column] * digit + carry
      let equation = "\(x[column]) * \(digit)" + (carry > 0 ? " + \(carry)" : "") + " = \(sum)"
      carry = sum / 10
      return carry > 0 && column + 1 < x.count ? "\(equation), write \(sum % 10) carry \(carry)" : equation
    }
  }
}
