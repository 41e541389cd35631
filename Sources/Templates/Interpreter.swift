import TemplateSyntax

/// Runs one rendering of a template.
final class Interpreter: ValueFunctions {
  let template: ParsedTemplate
  let clock: () throws -> LocalTime
  let budget: TemplateBudget
  /// What was written so far by the innermost block that collects text.
  var output: [UInt32] = []
  private var depth = 0
  private let depthLimit: Int
  /// What may refer to each other in a circle: emptied at the end, so that nothing stays behind.
  private var namespaces: [Namespace] = []
  private var loops: [Loop] = []
  private var macros: [Macro] = []
  private var scopes: [Scope] = []

  init(_ template: ParsedTemplate, limits: TemplateLimits, clock: @escaping () throws -> LocalTime) {
    self.template = template
    self.clock = clock
    budget = TemplateBudget(limits)
    depthLimit = limits.depth
  }

  /// The text, with marks.
  func render(_ variables: [(String, Value)]) throws -> Text {
    defer { release() }
    let context = Scope(parent: nil)
    let numbers = Dictionary(uniqueKeysWithValues: template.names.enumerated().map { ($1, $0) })
    for (name, value) in variables {
      if let number = numbers[name] { context[number] = value }
    }
    let root = newScope(parent: context, body: 0)
    _ = try run(template.statements, root)
    return Text(units: output)
  }

  private func release() {
    for namespace in namespaces { namespace.attributes = [] }
    for loop in loops { loop.clear() }
    for macro in macros { macro.scope = nil }
    for scope in scopes { scope.clear() }
  }

  // MARK: What is kept until the end

  func newNamespace() -> Namespace {
    let namespace = Namespace()
    namespaces.append(namespace)
    return namespace
  }

  func newLoop(_ loop: Loop) -> Loop {
    loops.append(loop)
    return loop
  }

  func newMacro(_ definition: MacroDefinition, _ scope: Scope) -> Macro {
    let macro = Macro(definition, scope: scope)
    macros.append(macro)
    scopes.append(scope)
    return macro
  }

  /// Variables of a body: those that it sets before it mentions them hide others of their name.
  func newScope(parent: Scope, body: Int) -> Scope {
    let scope = Scope(parent: parent)
    for name in template.hidden[body] {
      scope[name] = .undefined(Undefined(name: template.names[name]))
    }
    return scope
  }

  // MARK: Nesting and text

  /// Counts a step and a level; errors get the line where they happened.
  func at<Result>(line: Int, _ body: () throws -> Result) throws -> Result {
    depth += 1
    defer { depth -= 1 }
    guard depth <= depthLimit else {
      throw TemplateError(.limit, "macros, loops and expressions are nested too deep", line: line)
    }
    do {
      try budget.step()
      return try body()
    } catch var error as TemplateError {
      if error.line == nil { error.line = line }
      throw error
    }
  }

  func write(_ text: Text) throws {
    try budget.charge(text.count)
    output += text.units
  }

  /// What `body` writes.
  func collected(_ body: () throws -> Void) throws -> Text {
    let outer = output
    output = []
    defer { output = outer }
    try body()
    return Text(units: output)
  }
}
