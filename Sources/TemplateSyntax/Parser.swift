/// Reads tokens as jinja2's parser does.
package struct Parser {
  private let tokens: [Token]
  private var position = 0
  private var nesting = 0
  private var scopes = 1
  private(set) var names: [String] = []
  private var numbers: [String: Int] = [:]

  private init(_ tokens: [Token]) { self.tokens = tokens }

  /// - Throws: `TemplateError` for what jinja2 refuses, and for what this interpreter does not know.
  package static func parse(_ source: String) throws -> ParsedTemplate {
    var parser = Parser(try Lexer.tokens(of: source))
    let statements = try parser.parseStatements(until: [])
    guard parser.names.count <= 4096 else { throw TemplateError(.limit, "the template uses more than 4096 names") }
    var template = ParsedTemplate(
      statements: statements, names: [], hidden: [], mentions: [:], caller: parser.number("caller"),
      varargs: parser.number("varargs"), kwargs: parser.number("kwargs"), loop: parser.number("loop"))
    template.names = parser.names
    try ScopeAnalysis.run(&template, scopes: parser.scopes)
    return template
  }

  // MARK: Tokens

  package var current: Token { tokens[position] }
  package var following: Token { tokens[min(position + 1, tokens.count - 1)] }
  package var line: Int { current.line }

  package mutating func advance() { position = min(position + 1, tokens.count - 1) }

  package mutating func skip(symbol: String) -> Bool {
    guard current.isSymbol(symbol) else { return false }
    advance()
    return true
  }

  package mutating func skip(name: String) -> Bool {
    guard current.isName(name) else { return false }
    advance()
    return true
  }

  package func failure(_ message: String) -> TemplateError { .syntax(message, line: line) }

  package mutating func expect(symbol: String) throws {
    guard skip(symbol: symbol) else { throw failure("expected token '\(symbol)', got '\(current.description)'") }
  }

  package mutating func expect(name: String) throws {
    guard skip(name: name) else { throw failure("expected token '\(name)', got '\(current.description)'") }
  }

  package mutating func expectName() throws -> String {
    guard case .name(let name) = current.kind else {
      throw failure("expected token 'name', got '\(current.description)'")
    }
    advance()
    return name
  }

  package mutating func expectBlockEnd() throws {
    guard current.kind == .blockEnd else {
      throw failure("expected token 'end of statement block', got '\(current.description)'")
    }
    advance()
  }

  package mutating func expectVariableEnd() throws {
    guard current.kind == .variableEnd else {
      throw failure("expected token 'end of print statement', got '\(current.description)'")
    }
    advance()
  }

  /// The number of a name.
  package mutating func number(_ name: String) -> Int {
    if let number = numbers[name] { return number }
    names.append(name)
    numbers[name] = names.count - 1
    return names.count - 1
  }

  package mutating func newScope() -> Int {
    scopes += 1
    return scopes - 1
  }

  // MARK: Nesting

  package mutating func nested<Result>(_ parse: (inout Parser) throws -> Result) throws -> Result {
    nesting += 1
    defer { nesting -= 1 }
    guard nesting <= TemplateLimits.sourceDepth else { throw tooDeep }
    return try parse(&self)
  }

  private var tooDeep: TemplateError {
    TemplateError(.limit, "the template is nested deeper than \(TemplateLimits.sourceDepth) levels", line: line)
  }

  package func make(_ kind: Expression.Kind, _ line: Int) throws -> Expression {
    let flat = Expression(kind, line: line, depth: 0)
    let depth = 1 + (flat.children.map(\.depth).max() ?? 0)
    // A chain of operators is a tree as deep as it is long.
    guard depth <= 2 * TemplateLimits.sourceDepth else { throw tooDeep }
    return Expression(kind, line: line, depth: depth)
  }
}
