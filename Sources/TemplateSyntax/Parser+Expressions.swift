extension Parser {
  package mutating func parseExpression(conditional: Bool = true) throws -> Expression {
    try nested { try conditional ? $0.parseConditional() : $0.parseOr() }
  }

  private mutating func parseConditional() throws -> Expression {
    var line = self.line
    var value = try parseOr()
    while skip(name: "if") {
      let condition = try parseOr()
      let otherwise = skip(name: "else") ? try nested { try $0.parseConditional() } : nil
      value = try make(.conditional(condition, value, otherwise), line)
      line = self.line
    }
    return value
  }

  private mutating func parseOr() throws -> Expression {
    var left = try parseAnd()
    while skip(name: "or") { left = try make(.or(left, parseAnd()), left.line) }
    return left
  }

  private mutating func parseAnd() throws -> Expression {
    var left = try parseNot()
    while skip(name: "and") { left = try make(.and(left, parseNot()), left.line) }
    return left
  }

  private mutating func parseNot() throws -> Expression {
    let line = self.line
    guard skip(name: "not") else { return try parseComparison() }
    return try nested { try $0.make(.unary(.not, $0.parseNot()), line) }
  }

  private mutating func parseComparison() throws -> Expression {
    let first = try parseSum()
    var rest: [(Expression.Comparison, Expression)] = []
    while true {
      if case .symbol(let symbol) = current.kind, let comparison = Expression.Comparison(rawValue: symbol) {
        advance()
        rest.append((comparison, try parseSum()))
      } else if skip(name: "in") {
        rest.append((.contained, try parseSum()))
      } else if current.isName("not"), following.isName("in") {
        advance()
        advance()
        rest.append((.notContained, try parseSum()))
      } else {
        break
      }
    }
    return rest.isEmpty ? first : try make(.comparison(first, rest), first.line)
  }

  private mutating func parseSum() throws -> Expression {
    var left = try parseConcatenation()
    while case .symbol(let symbol) = current.kind, symbol == "+" || symbol == "-",
      let binary = Expression.Binary(rawValue: symbol)
    {
      advance()
      left = try make(.binary(binary, left, parseConcatenation()), left.line)
    }
    return left
  }

  private mutating func parseConcatenation() throws -> Expression {
    var parts = [try parseProduct()]
    while skip(symbol: "~") { parts.append(try parseProduct()) }
    return parts.count == 1 ? parts[0] : try make(.concatenation(parts), parts[0].line)
  }

  private mutating func parseProduct() throws -> Expression {
    var left = try parsePower()
    while case .symbol(let symbol) = current.kind, ["*", "/", "//", "%"].contains(symbol),
      let binary = Expression.Binary(rawValue: symbol)
    {
      advance()
      left = try make(.binary(binary, left, parsePower()), left.line)
    }
    return left
  }

  private mutating func parsePower() throws -> Expression {
    var left = try parseUnary()
    while skip(symbol: "**") { left = try make(.binary(.power, left, parseUnary()), left.line) }
    return left
  }

  private mutating func parseUnary(filters: Bool = true) throws -> Expression {
    let line = self.line
    var value: Expression
    if skip(symbol: "-") {
      value = try nested { try $0.make(.unary(.negative, $0.parseUnary(filters: false)), line) }
    } else if skip(symbol: "+") {
      value = try nested { try $0.make(.unary(.positive, $0.parseUnary(filters: false)), line) }
    } else {
      value = try parsePrimary()
    }
    value = try parsePostfix(value)
    return filters ? try parseFilters(value) : value
  }

  package mutating func parsePrimary() throws -> Expression {
    let token = current
    switch token.kind {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return try make(.literal(.bool(true)), token.line)
      case "false", "False": return try make(.literal(.bool(false)), token.line)
      case "none", "None": return try make(.literal(.none), token.line)
      default: return try make(.name(number(name)), token.line)
      }
    case .string(var text):
      advance()
      while case .string(let more) = current.kind {
        text.units += more.units
        advance()
      }
      return try make(.literal(.string(text)), token.line)
    case .integer(let value):
      advance()
      return try make(.literal(.integer(value)), token.line)
    case .float(let value):
      advance()
      return try make(.literal(.float(value)), token.line)
    case .symbol("("):
      advance()
      let value = try parseTuple(inParentheses: true)
      try expect(symbol: ")")
      return value
    case .symbol("["): return try parseList()
    case .symbol("{"): return try parseDict()
    default: throw failure("unexpected '\(token.description)'")
    }
  }

  /// Whether a tuple without brackets ends here.
  private func isTupleEnd(_ endNames: [String]) -> Bool {
    switch current.kind {
    case .variableEnd, .blockEnd, .symbol(")"): true
    case .name(let name): endNames.contains(name)
    default: false
    }
  }

  package mutating func parseTuple(conditional: Bool = true, endNames: [String] = [], inParentheses: Bool = false)
    throws
    -> Expression
  {
    let line = self.line
    var items: [Expression] = []
    var isTuple = false
    while true {
      if !items.isEmpty { try expect(symbol: ",") }
      if isTupleEnd(endNames) { break }
      items.append(try parseExpression(conditional: conditional))
      guard current.isSymbol(",") else { break }
      isTuple = true
    }
    if !isTuple {
      if let first = items.first { return first }
      guard inParentheses else { throw failure("Expected an expression, got '\(current.description)'") }
    }
    return try make(.tuple(items), line)
  }

  private mutating func parseList() throws -> Expression {
    let line = self.line
    try expect(symbol: "[")
    var items: [Expression] = []
    while !current.isSymbol("]") {
      if !items.isEmpty { try expect(symbol: ",") }
      if current.isSymbol("]") { break }
      items.append(try parseExpression())
    }
    try expect(symbol: "]")
    return try make(.list(items), line)
  }

  private mutating func parseDict() throws -> Expression {
    let line = self.line
    try expect(symbol: "{")
    var pairs: [(Expression, Expression)] = []
    while !current.isSymbol("}") {
      if !pairs.isEmpty { try expect(symbol: ",") }
      if current.isSymbol("}") { break }
      let key = try parseExpression()
      try expect(symbol: ":")
      pairs.append((key, try parseExpression()))
    }
    try expect(symbol: "}")
    return try make(.dict(pairs), line)
  }

  private mutating func parsePostfix(_ value: Expression) throws -> Expression {
    var value = value
    while true {
      switch current.kind {
      case .symbol("."): value = try parseAttribute(value)
      case .symbol("["): value = try parseItem(value)
      case .symbol("("): value = try parseCall(value)
      default: return value
      }
    }
  }

  private mutating func parseFilters(_ value: Expression) throws -> Expression {
    var value = value
    while true {
      if current.isSymbol("|") {
        advance()
        let call = try parseFilterCall()
        value = try make(.filter(value, call), call.line)
      } else if current.isName("is") {
        value = try parseTest(value)
      } else if current.isSymbol("(") {
        value = try parseCall(value)
      } else {
        return value
      }
    }
  }

  private mutating func parseAttribute(_ value: Expression) throws -> Expression {
    let line = self.line
    advance()
    switch current.kind {
    case .name(let name):
      advance()
      return try make(.attribute(value, name), line)
    case .integer(let index):
      advance()
      return try make(.item(value, make(.literal(.integer(index)), line)), line)
    default: throw failure("expected name or number")
    }
  }

  private mutating func parseItem(_ value: Expression) throws -> Expression {
    let line = self.line
    advance()
    var subscripts: [Expression] = []
    while !current.isSymbol("]") {
      if !subscripts.isEmpty { try expect(symbol: ",") }
      subscripts.append(try parseSubscript())
    }
    try expect(symbol: "]")
    return try make(.item(value, subscripts.count == 1 ? subscripts[0] : make(.tuple(subscripts), line)), line)
  }

  private mutating func parseSubscript() throws -> Expression {
    let line = self.line
    var start: Expression?
    if !current.isSymbol(":") {
      let value = try parseExpression()
      guard current.isSymbol(":") else { return value }
      start = value
    }
    advance()
    func ends(_ parser: Parser) -> Bool { parser.current.isSymbol("]") || parser.current.isSymbol(",") }
    var stop: Expression?
    var step: Expression?
    if !current.isSymbol(":"), !ends(self) { stop = try parseExpression() }
    if skip(symbol: ":"), !ends(self) { step = try parseExpression() }
    return try make(.slice(start, stop, step), line)
  }

  private mutating func parseCall(_ callee: Expression) throws -> Expression {
    let line = self.line
    return try make(.call(callee, parseArguments()), line)
  }

  package mutating func parseArguments() throws -> Arguments {
    let line = self.line
    try expect(symbol: "(")
    var arguments = Arguments()
    func ensure(_ isGood: Bool) throws {
      if !isGood { throw TemplateError.syntax("invalid syntax for function call expression", line: line) }
    }
    var needsComma = false
    while !current.isSymbol(")") {
      if needsComma {
        try expect(symbol: ",")
        if current.isSymbol(")") { break }
      }
      if skip(symbol: "*") {
        try ensure(arguments.unpacked == nil && arguments.unpackedKeywords == nil)
        arguments.unpacked = try parseExpression()
      } else if skip(symbol: "**") {
        try ensure(arguments.unpackedKeywords == nil)
        arguments.unpackedKeywords = try parseExpression()
      } else if case .name(let name) = current.kind, following.isSymbol("=") {
        try ensure(arguments.unpackedKeywords == nil)
        advance()
        advance()
        guard !arguments.keywords.contains(where: { $0.name == name }) else {
          throw TemplateError.syntax("keyword argument repeated: \(name)", line: line)
        }
        arguments.keywords.append((name, try parseExpression()))
      } else {
        try ensure(
          arguments.unpacked == nil && arguments.unpackedKeywords == nil && arguments.keywords.isEmpty)
        arguments.positional.append(try parseExpression())
      }
      needsComma = true
    }
    try expect(symbol: ")")
    return arguments
  }

  /// A filter's name, perhaps with dots, and its arguments.
  package mutating func parseFilterCall() throws -> FilterCall {
    let line = self.line
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    return FilterCall(name: name, arguments: current.isSymbol("(") ? try parseArguments() : Arguments(), line: line)
  }

  package mutating func parseFilterChain() throws -> [FilterCall] {
    var calls: [FilterCall] = []
    while skip(symbol: "|") { calls.append(try parseFilterCall()) }
    return calls
  }

  private mutating func parseTest(_ value: Expression) throws -> Expression {
    let line = self.line
    advance()
    let isNegated = skip(name: "not")
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    var arguments = Arguments()
    if current.isSymbol("(") {
      arguments = try parseArguments()
    } else if beginsArgument {
      if current.isName("is") { throw failure("You cannot chain multiple tests with is") }
      arguments.positional = [try nested { try $0.parsePostfix($0.parsePrimary()) }]
    }
    let test = try make(.test(value, FilterCall(name: name, arguments: arguments, line: line)), line)
    return isNegated ? try make(.unary(.not, test), line) : test
  }

  private var beginsArgument: Bool {
    switch current.kind {
    case .name(let name): name != "else" && name != "or" && name != "and"
    case .string, .integer, .float, .symbol("["), .symbol("{"): true
    default: false
    }
  }
}
