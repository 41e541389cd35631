extension Parser {
  /// Statements up to a tag of one of these names, whose name is then the current token; to the template's end when
  /// there are none.
  package mutating func parseStatements(until ends: [String]) throws -> [Statement] {
    try nested { try $0.parseStatementList(until: ends) }
  }

  private mutating func parseStatementList(until ends: [String]) throws -> [Statement] {
    var statements: [Statement] = []
    while true {
      let token = current
      switch token.kind {
      case .data(let text):
        statements.append(Statement(kind: .text(text), line: token.line))
        advance()
      case .variableBegin:
        advance()
        statements.append(Statement(kind: .output(try parseTuple()), line: token.line))
        try expectVariableEnd()
      case .blockBegin:
        advance()
        if case .name(let name) = current.kind, ends.contains(name) { return statements }
        statements += try parseStatement()
        try expectBlockEnd()
      case .end:
        guard ends.isEmpty else {
          throw failure("Unexpected end of template. Jinja was looking for the following tags: \(Self.list(ends)).")
        }
        return statements
      default: throw failure("unexpected '\(token.description)'")
      }
    }
  }

  private static func list(_ names: [String]) -> String { names.map { "'\($0)'" }.joined(separator: " or ") }

  private mutating func parseStatement() throws -> [Statement] {
    guard case .name(let tag) = current.kind else { throw failure("tag name expected") }
    let line = self.line
    advance()
    let kind: Statement.Kind
    switch tag {
    case "for": kind = try parseFor()
    case "if": kind = try parseIf()
    case "set": kind = try parseSet()
    case "macro": kind = try parseMacro()
    case "call": kind = try parseCallBlock()
    case "with": kind = try parseWith()
    case "filter":
      let first = try parseFilterCall()
      kind = .filter([first] + (try parseFilterChain()), try parseBody("endfilter"))
    case "generation": kind = .generation(try parseBody("endgeneration"))
    case "break": kind = .leaveLoop
    case "continue": kind = .nextElement
    case "print": return try parsePrint(line)
    case "block", "extends", "include", "import", "from", "autoescape":
      throw TemplateError(.unsupported, "the tag '\(tag)' is not supported", line: line)
    default: throw TemplateError.syntax("Encountered unknown tag '\(tag)'.", line: line)
    }
    return [Statement(kind: kind, line: line)]
  }

  private mutating func parsePrint(_ line: Int) throws -> [Statement] {
    var statements: [Statement] = []
    while current.kind != .blockEnd {
      if !statements.isEmpty { try expect(symbol: ",") }
      statements.append(Statement(kind: .output(try parseExpression()), line: line))
    }
    return statements
  }

  /// What follows a tag's own words, up to the tag `end`, which is taken.
  private mutating func parseBody(_ end: String) throws -> Body {
    let scope = newScope()
    let statements = try parseInside([end])
    advance()
    return Body(statements: statements, scope: scope)
  }

  private mutating func parseInside(_ ends: [String]) throws -> [Statement] {
    _ = skip(symbol: ":")
    try expectBlockEnd()
    return try parseStatements(until: ends)
  }

  private mutating func parseFor() throws -> Statement.Kind {
    let target = try parseTarget(endNames: ["in"])
    try expect(name: "in")
    let elements = try parseTuple(conditional: false, endNames: ["recursive"])
    let condition = skip(name: "if") ? try parseExpression() : nil
    let isRecursive = skip(name: "recursive")
    let scope = newScope()
    let statements = try parseInside(["endfor", "else"])
    var otherwise: Body?
    if skip(name: "else") { otherwise = try parseBody("endfor") } else { advance() }
    return .loop(
      ForStatement(
        target: target, elements: elements, condition: condition, isRecursive: isRecursive,
        body: Body(statements: statements, scope: scope), otherwise: otherwise))
  }

  private mutating func parseIf() throws -> Statement.Kind {
    var branches: [(Expression, [Statement])] = []
    while true {
      let condition = try parseTuple(conditional: false)
      branches.append((condition, try parseInside(["elif", "else", "endif"])))
      if skip(name: "elif") { continue }
      guard skip(name: "else") else { break }
      let otherwise = try parseInside(["endif"])
      advance()
      return .condition(branches, otherwise: otherwise)
    }
    advance()
    return .condition(branches, otherwise: [])
  }

  private mutating func parseSet() throws -> Statement.Kind {
    let target = try parseTarget(attributes: true)
    if skip(symbol: "=") { return .set(target, try parseTuple()) }
    let filters = try parseFilterChain()
    return .setBlock(target, filters, try parseBody("endset"))
  }

  private mutating func parseWith() throws -> Statement.Kind {
    var pairs: [(Target, Expression)] = []
    while current.kind != .blockEnd {
      if !pairs.isEmpty { try expect(symbol: ",") }
      let target = try parseTarget()
      try expect(symbol: "=")
      pairs.append((target, try parseExpression()))
    }
    return .with(pairs, try parseBody("endwith"))
  }

  private mutating func parseMacro() throws -> Statement.Kind {
    let name = try parseTargetName()
    let (parameters, defaults) = try parseSignature()
    return .macro(
      name,
      MacroDefinition(
        name: names[name], parameters: parameters, parameterNames: parameters.map { names[$0] }, defaults: defaults,
        body: try parseBody("endmacro")))
  }

  private mutating func parseCallBlock() throws -> Statement.Kind {
    let line = self.line
    let (parameters, defaults) = current.isSymbol("(") ? try parseSignature() : ([], [])
    guard case .call(let callee, let arguments) = try parseExpression().kind else {
      throw TemplateError.syntax("expected call", line: line)
    }
    return .call(
      callee, arguments,
      MacroDefinition(
        name: nil, parameters: parameters, parameterNames: parameters.map { names[$0] }, defaults: defaults,
        body: try parseBody("endcall")))
  }

  private mutating func parseSignature() throws -> ([Int], [Expression]) {
    try expect(symbol: "(")
    var parameters: [Int] = []
    var defaults: [Expression] = []
    while !current.isSymbol(")") {
      if !parameters.isEmpty { try expect(symbol: ",") }
      let name = try parseTargetName()
      guard !parameters.contains(name) else {
        throw failure("duplicate argument '\(names[name])' in function definition")
      }
      if skip(symbol: "=") {
        defaults.append(try parseExpression())
      } else if !defaults.isEmpty {
        throw failure("non-default argument follows default argument")
      }
      parameters.append(name)
    }
    try expect(symbol: ")")
    return (parameters, defaults)
  }

  // MARK: Targets

  private mutating func parseTargetName() throws -> Int {
    let name = try expectName()
    guard !["true", "false", "none", "True", "False", "None"].contains(name) else {
      throw failure("can't assign to '\(name)'")
    }
    return number(name)
  }

  private mutating func parseTarget(attributes: Bool = false, endNames: [String] = []) throws -> Target {
    try nested { try $0.parseTargetTuple(attributes, endNames, inParentheses: false) }
  }

  private mutating func parseTargetTuple(_ attributes: Bool, _ endNames: [String], inParentheses: Bool) throws
    -> Target
  {
    var targets: [Target] = []
    var isTuple = false
    while true {
      if !targets.isEmpty { try expect(symbol: ",") }
      if current.kind == .blockEnd || current.kind == .variableEnd || current.isSymbol(")") { break }
      if case .name(let name) = current.kind, endNames.contains(name) { break }
      targets.append(try parseTargetItem(attributes))
      guard current.isSymbol(",") else { break }
      isTuple = true
    }
    if !isTuple, let first = targets.first { return first }
    guard isTuple || inParentheses else { throw failure("Expected an expression, got '\(current.description)'") }
    return .tuple(targets)
  }

  private mutating func parseTargetItem(_ attributes: Bool) throws -> Target {
    if skip(symbol: "(") {
      let target = try nested { try $0.parseTargetTuple(false, [], inParentheses: true) }
      try expect(symbol: ")")
      return target
    }
    guard case .name = current.kind else { throw failure("can't assign to '\(current.description)'") }
    let name = try parseTargetName()
    if attributes, skip(symbol: ".") { return .attribute(name, try expectName()) }
    return .name(name)
  }
}
