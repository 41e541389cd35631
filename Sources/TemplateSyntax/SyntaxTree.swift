/// A literal of a template.
package enum Literal: Sendable {
  case none
  case bool(Bool)
  case integer(Int)
  case float(Double)
  case string(Text)
}

/// An expression and its line. Names are numbers; `ParsedTemplate.names` has their spelling.
package final class Expression: Sendable {
  package enum Unary: Sendable { case negative, positive, not }
  package enum Binary: String, Sendable {
    case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//"
    case remainder = "%", power = "**"
  }
  package enum Comparison: String, Sendable {
    case equal = "==", notEqual = "!=", less = "<", lessOrEqual = "<="
    case greater = ">", greaterOrEqual = ">=", contained = "in", notContained = "not in"
  }

  package enum Kind: Sendable {
    case literal(Literal)
    case name(Int)
    case list([Expression])
    case tuple([Expression])
    case dict([(Expression, Expression)])
    case attribute(Expression, String)
    case item(Expression, Expression)
    /// Only what an `item` asks for.
    case slice(Expression?, Expression?, Expression?)
    case call(Expression, Arguments)
    case filter(Expression, FilterCall)
    case test(Expression, FilterCall)
    case unary(Unary, Expression)
    case binary(Binary, Expression, Expression)
    case concatenation([Expression])
    case comparison(Expression, [(Comparison, Expression)])
    case and(Expression, Expression)
    case or(Expression, Expression)
    /// The condition, what holds when it is true, and otherwise.
    case conditional(Expression, Expression, Expression?)
  }

  package let kind: Kind
  package let line: Int
  /// Expressions within each other.
  package let depth: Int

  package init(_ kind: Kind, line: Int, depth: Int) {
    self.kind = kind
    self.line = line
    self.depth = depth
  }

  /// The expressions in it, in the order of the source.
  package var children: [Expression] {
    switch kind {
    case .literal, .name: []
    case .list(let items), .tuple(let items), .concatenation(let items): items
    case .dict(let pairs): pairs.flatMap { [$0, $1] }
    case .attribute(let value, _), .unary(_, let value): [value]
    case .item(let left, let right), .binary(_, let left, let right), .and(let left, let right),
      .or(let left, let right):
      [left, right]
    case .slice(let start, let stop, let step): [start, stop, step].compactMap(\.self)
    case .call(let callee, let arguments): [callee] + arguments.expressions
    case .filter(let value, let call), .test(let value, let call): [value] + call.arguments.expressions
    case .comparison(let first, let rest): [first] + rest.map(\.1)
    case .conditional(let condition, let then, let otherwise): [condition, then] + (otherwise.map { [$0] } ?? [])
    }
  }
}

package struct Arguments: Sendable {
  package var positional: [Expression] = []
  package var keywords: [(name: String, value: Expression)] = []
  /// `*list`
  package var unpacked: Expression?
  /// `**mapping`
  package var unpackedKeywords: Expression?

  package var expressions: [Expression] {
    positional + keywords.map(\.value) + [unpacked, unpackedKeywords].compactMap(\.self)
  }
}

/// A filter or a test with its arguments.
package struct FilterCall: Sendable {
  package var name: String
  package var arguments: Arguments
  package var line: Int
}

package indirect enum Target: Sendable {
  case name(Int)
  case attribute(Int, String)
  case tuple([Target])

  package var names: [Int] {
    switch self {
    case .name(let name): [name]
    case .attribute: []
    case .tuple(let targets): targets.flatMap(\.names)
    }
  }

  /// Names that must exist already: those whose attribute is set.
  package var loads: [Int] {
    switch self {
    case .name: []
    case .attribute(let name, _): [name]
    case .tuple(let targets): targets.flatMap(\.loads)
    }
  }
}

/// A block with variables of its own; the number is its place in `ParsedTemplate.hidden`.
package struct Body: Sendable {
  package var statements: [Statement]
  package var scope: Int
}

/// What a macro or a call block is.
package final class MacroDefinition: Sendable {
  /// Nil for a call block.
  package let name: String?
  package let parameters: [Int]
  package let parameterNames: [String]
  /// Of the last parameters.
  package let defaults: [Expression]
  package let body: Body

  package init(name: String?, parameters: [Int], parameterNames: [String], defaults: [Expression], body: Body) {
    self.name = name
    self.parameters = parameters
    self.parameterNames = parameterNames
    self.defaults = defaults
    self.body = body
  }
}

package struct ForStatement: Sendable {
  package var target: Target
  package var elements: Expression
  package var condition: Expression?
  package var isRecursive: Bool
  package var body: Body
  package var otherwise: Body?
}

package struct Statement: Sendable {
  package indirect enum Kind: Sendable {
    case text(Text)
    case output(Expression)
    case loop(ForStatement)
    case condition([(Expression, [Statement])], otherwise: [Statement])
    case set(Target, Expression)
    case setBlock(Target, [FilterCall], Body)
    case macro(Int, MacroDefinition)
    /// The callee and its arguments, and what `caller` is.
    case call(Expression, Arguments, MacroDefinition)
    case filter([FilterCall], Body)
    case with([(Target, Expression)], Body)
    case generation(Body)
    case leaveLoop
    case nextElement
  }

  package var kind: Kind
  package var line: Int
}

/// A template that was read.
package struct ParsedTemplate: Sendable {
  package var statements: [Statement]
  package var names: [String]
  /// For each body: names that it sets before it mentions them otherwise. Python's jinja makes them variables of the
  /// body from its first line on, so that one of the same name outside cannot be seen.
  package var hidden: [[Int]]
  /// For each macro's body: which of `caller`, `varargs`, `kwargs` it mentions.
  package var mentions: [Int: Set<Int>]
  package var caller: Int
  package var varargs: Int
  package var kwargs: Int
  package var loop: Int
}
