/// Which names belong to which block, found before a template runs, as jinja2's compiler does, and what it refuses then.
package struct ScopeAnalysis {
  private var template: ParsedTemplate
  private var frames: [Frame] = [Frame()]

  /// Names of one block as its statements are gone through.
  private struct Frame {
    package var known: Set<Int> = []
    package var stored: Set<Int> = []
    package var hidden: Set<Int> = []
  }

  private struct Place {
    package var isInLoop = false
    /// Directly in a branch of an `if`: an unknown filter is an error only when it is reached.
    package var isSoft = false
  }

  package static func run(_ template: inout ParsedTemplate, scopes: Int) throws {
    template.hidden = Array(repeating: [], count: scopes)
    var analysis = ScopeAnalysis(template: template)
    try analysis.finish(template.statements, scope: 0, Place())
    template = analysis.template
  }

  private init(template: ParsedTemplate) { self.template = template }

  private func isKnown(_ name: Int) -> Bool { frames.contains { $0.known.contains(name) } }

  private mutating func load(_ name: Int) {
    if !isKnown(name) { frames[frames.count - 1].known.insert(name) }
  }

  private mutating func declare(_ name: Int) {
    frames[frames.count - 1].known.insert(name)
    frames[frames.count - 1].stored.insert(name)
  }

  private mutating func store(_ name: Int) {
    let last = frames.count - 1
    frames[last].stored.insert(name)
    guard !frames[last].known.contains(name) else { return }
    if !isKnown(name) { frames[last].hidden.insert(name) }
    frames[last].known.insert(name)
  }

  private mutating func load(_ expression: Expression) {
    if case .name(let name) = expression.kind { load(name) }
    for child in expression.children { load(child) }
  }

  private mutating func store(_ target: Target) {
    for name in target.loads { load(name) }
    for name in target.names { store(name) }
  }

  /// The names of this block alone; blocks with variables of their own are gone through by `descend`.
  private mutating func collect(_ statements: [Statement]) {
    for statement in statements {
      switch statement.kind {
      case .text, .leaveLoop, .nextElement, .generation: break
      case .output(let value): load(value)
      case .loop(let loop): load(loop.elements)
      case .condition(let branches, let otherwise): collect(branches, otherwise)
      case .set(let target, let value):
        load(value)
        store(target)
      case .setBlock(let target, _, _): store(target)
      case .macro(let name, _): store(name)
      case .call(let callee, let arguments, _):
        load(callee)
        for argument in arguments.expressions { load(argument) }
      case .filter(let calls, _):
        for argument in calls.flatMap(\.arguments.expressions) { load(argument) }
      case .with(let pairs, _):
        for (_, value) in pairs { load(value) }
      }
    }
  }

  private mutating func collect(_ branches: [(Expression, [Statement])], _ otherwise: [Statement]) {
    guard let (condition, body) = branches.first else { return }
    load(condition)
    let last = frames.count - 1
    let before = frames[last]
    var merged = before
    func merge(_ branch: Frame) {
      merged.known.formUnion(branch.known)
      merged.stored.formUnion(branch.stored)
      merged.hidden.formUnion(branch.hidden)
    }
    collect(body)
    merge(frames[last])
    frames[last] = before
    for branch in branches.dropFirst() { collect([branch], []) }
    merge(frames[last])
    frames[last] = before
    collect(otherwise)
    merge(frames[last])
    merged.hidden.subtract(merged.stored.subtracting(before.stored))
    frames[last] = merged
  }

  private mutating func finish(_ statements: [Statement], scope: Int, _ place: Place) throws {
    collect(statements)
    template.hidden[scope] = frames[frames.count - 1].hidden.sorted()
    try descend(statements, place)
  }

  private mutating func enter(
    _ body: Body, _ place: Place, declaring names: [Int] = [], loading expressions: [Expression] = []
  ) throws {
    frames.append(Frame())
    defer { frames.removeLast() }
    for name in names { declare(name) }
    for expression in expressions { load(expression) }
    try finish(body.statements, scope: body.scope, place)
  }

  private mutating func descend(_ statements: [Statement], _ place: Place) throws {
    for statement in statements { try descend(statement, place) }
  }

  private mutating func descend(_ statement: Statement, _ place: Place) throws {
    var inside = place
    inside.isSoft = false
    switch statement.kind {
    case .text: break
    case .leaveLoop, .nextElement:
      guard place.isInLoop else {
        throw TemplateError(.failed, "SyntaxError: 'break' or 'continue' outside loop", line: statement.line)
      }
    case .output(let value): try check(value, place)
    case .loop(let loop): try descend(loop, statement.line, place)
    case .condition(let branches, let otherwise):
      var soft = place
      soft.isSoft = true
      for (condition, body) in branches {
        try check(condition, soft)
        try descend(body, soft)
      }
      try descend(otherwise, soft)
    case .set(_, let value): try check(value, place)
    case .setBlock(_, let filters, let body):
      try check(filters, place)
      try enter(body, inside)
    case .macro(_, let definition): try descend(definition)
    case .call(let callee, let arguments, let definition):
      try check(callee, place)
      for argument in arguments.expressions { try check(argument, place) }
      try descend(definition)
    case .filter(let filters, let body):
      try check(filters, place)
      try enter(body, inside)
    case .with(let pairs, let body):
      for (_, value) in pairs { try check(value, place) }
      try enter(body, inside, declaring: pairs.flatMap(\.0.names))
    case .generation(let body): try enter(body, Place())
    }
  }

  private mutating func descend(_ loop: ForStatement, _ line: Int, _ place: Place) throws {
    var stored: Set<Int> = Set(loop.target.names)
    Self.walk(loop.body.statements + (loop.otherwise?.statements ?? []), load: { _ in }, store: { stored.insert($0) })
    guard !stored.contains(template.loop) else {
      throw TemplateError.syntax("Can't assign to special loop variable in for-loop target", line: line)
    }
    try check(loop.elements, place)
    if let condition = loop.condition { try check(condition, Place()) }
    try enter(
      loop.body, Place(isInLoop: true), declaring: [template.loop] + loop.target.names)
    if let otherwise = loop.otherwise {
      try enter(otherwise, Place(isInLoop: place.isInLoop && !loop.isRecursive))
    }
  }

  private mutating func descend(_ definition: MacroDefinition) throws {
    var mentioned: Set<Int> = []
    var open: Set<Int> = [template.caller, template.varargs, template.kwargs]
    Self.walk(
      definition.body.statements, load: { if open.contains($0) { mentioned.insert($0) } }, store: { open.remove($0) })
    template.mentions[definition.body.scope] = mentioned
    for value in definition.defaults { try check(value, Place()) }
    try enter(
      definition.body, Place(), declaring: definition.parameters + mentioned.sorted(), loading: definition.defaults)
  }

  // MARK: Names of everything inside

  /// Every name, in the order in which jinja2 visits them.
  private static func walk(_ statements: [Statement], load: (Int) -> Void, store: (Int) -> Void) {
    func visit(_ expression: Expression) {
      if case .name(let name) = expression.kind { load(name) }
      for child in expression.children { visit(child) }
    }
    func visit(_ target: Target) {
      for name in target.loads { load(name) }
      for name in target.names { store(name) }
    }
    func visit(_ definition: MacroDefinition) {
      for name in definition.parameters { store(name) }
      for value in definition.defaults { visit(value) }
      walk(definition.body.statements, load: load, store: store)
    }
    for statement in statements {
      switch statement.kind {
      case .text, .leaveLoop, .nextElement: break
      case .output(let value): visit(value)
      case .loop(let loop):
        visit(loop.target)
        visit(loop.elements)
        walk(loop.body.statements + (loop.otherwise?.statements ?? []), load: load, store: store)
        if let condition = loop.condition { visit(condition) }
      case .condition(let branches, let otherwise):
        for (condition, body) in branches {
          visit(condition)
          walk(body, load: load, store: store)
        }
        walk(otherwise, load: load, store: store)
      case .set(let target, let value):
        visit(target)
        visit(value)
      case .setBlock(let target, let filters, let body):
        visit(target)
        for argument in filters.flatMap(\.arguments.expressions) { visit(argument) }
        walk(body.statements, load: load, store: store)
      case .macro(_, let definition): visit(definition)
      case .call(let callee, let arguments, let definition):
        visit(callee)
        for argument in arguments.expressions { visit(argument) }
        visit(definition)
      case .filter(let filters, let body):
        walk(body.statements, load: load, store: store)
        for argument in filters.flatMap(\.arguments.expressions) { visit(argument) }
      case .with(let pairs, let body):
        for (target, _) in pairs { visit(target) }
        for (_, value) in pairs { visit(value) }
        walk(body.statements, load: load, store: store)
      case .generation(let body): walk(body.statements, load: load, store: store)
      }
    }
  }

  // MARK: Filters and tests

  private func check(_ filters: [FilterCall], _ place: Place) throws {
    for filter in filters {
      if !place.isSoft, !KnownNames.hasFilter(filter.name) {
        throw TemplateError(.failed, "TemplateAssertionError: No filter named '\(filter.name)'.", line: filter.line)
      }
      for argument in filter.arguments.expressions { try check(argument, place) }
    }
  }

  private func check(_ expression: Expression, _ place: Place) throws {
    var place = place
    switch expression.kind {
    case .filter(let value, let filter):
      try check([filter], place)
      return try check(value, place)
    case .test(_, let test):
      if !place.isSoft, !KnownNames.hasTest(test.name) {
        throw TemplateError(.failed, "TemplateAssertionError: No test named '\(test.name)'.", line: test.line)
      }
    case .conditional: place.isSoft = true
    default: break
    }
    for child in expression.children { try check(child, place) }
  }
}
