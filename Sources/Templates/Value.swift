import TemplateSyntax

/// A value of a running template, with Python's types.
enum Value {
  case none
  case bool(Bool)
  case integer(Int)
  case float(Double)
  case string(Text)
  case list(Items)
  case tuple(Items)
  case dict(Mapping)
  case range(NumberRange)
  /// A generator: what `map`, `select` and their kin make. It is run through once.
  case iterator(LazyItems)
  /// What `keys()`, `values()` and `items()` give.
  case view(Mapping.Part, Mapping)
  case namespace(Namespace)
  case macro(Macro)
  case method(Method)
  case function(Function)
  case loop(Loop)
  case undefined(Undefined)

  static func string(_ string: String) -> Value { .string(Text(string)) }

  /// Lists and mappings within each other: a value that holds none has depth 0.
  var depth: Int {
    switch self {
    case .list(let items), .tuple(let items): items.depth
    case .dict(let mapping), .view(_, let mapping): mapping.depth
    case .iterator(let items): items.depth
    case .method(let method): method.receiver.depth
    case .loop(let loop): loop.nesting
    default: 0
    }
  }

  static func depth(around values: some Sequence<Value>) throws -> Int {
    let depth = 1 + (values.lazy.map(\.depth).max() ?? 0)
    guard depth <= TemplateLimits.valueDepth else {
      throw TemplateError(.limit, "values are nested deeper than \(TemplateLimits.valueDepth) levels")
    }
    return depth
  }

  static func list(of values: [Value]) throws -> Value { .list(try Items(values)) }
  static func tuple(of values: [Value]) throws -> Value { .tuple(try Items(values)) }

  /// Python's name of its type.
  var typeName: String {
    switch self {
    case .none: "NoneType"
    case .bool: "bool"
    case .integer: "int"
    case .float: "float"
    case .string(let text): text.isMarkup ? "Markup" : "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dict: "dict"
    case .range: "range"
    case .iterator: "generator"
    case .view(let part, _): "dict_\(part)"
    case .namespace: "TemplateNamespace"
    case .macro: "Macro"
    case .method: "builtin_function_or_method"
    case .function: "function"
    case .loop: "LoopContext"
    case .undefined: "Undefined"
    }
  }
}

/// The elements of a list or a tuple. The sandbox allows no change to them.
final class Items {
  let values: [Value]
  let depth: Int

  init(_ values: [Value]) throws {
    self.values = values
    depth = try Value.depth(around: values)
  }
}

/// A mapping, in the order in which its keys came.
final class Mapping {
  enum Part { case keys, values, items }

  let keys: [Value]
  let values: [Value]
  let depth: Int
  private let positions: [Key: Int]

  /// Later values of a key replace earlier ones.
  init(_ pairs: [(Value, Value)]) throws {
    var keys: [Value] = []
    var values: [Value] = []
    var positions: [Key: Int] = [:]
    for (key, value) in pairs {
      let hashed = try Key(key)
      if let position = positions[hashed] {
        values[position] = value
      } else {
        positions[hashed] = keys.count
        keys.append(key)
        values.append(value)
      }
    }
    self.keys = keys
    self.values = values
    self.positions = positions
    depth = max(try Value.depth(around: values), try Value.depth(around: keys))
  }

  var count: Int { keys.count }

  subscript(key: Key) -> Value? { positions[key].map { values[$0] } }
  subscript(name: String) -> Value? { self[Key.string(Text(name))] }

  func part(_ part: Part) throws -> [Value] {
    switch part {
    case .keys: keys
    case .values: values
    case .items: try zip(keys, values).map { try .tuple(of: [$0, $1]) }
    }
  }

  var pairs: [(Value, Value)] { Array(zip(keys, values)) }
}

/// A key of a mapping: numbers that are equal are one key.
enum Key: Hashable {
  case none
  case integer(Int)
  case float(Double)
  case string(Text)
  case tuple([Key])
  case undefined
  case object(ObjectIdentifier)

  init(_ value: Value) throws {
    switch value {
    case .none: self = .none
    case .bool(let value): self = .integer(value ? 1 : 0)
    case .integer(let value): self = .integer(value)
    case .float(let value): self = Int(exactly: value).map(Key.integer) ?? .float(value)
    case .string(let text): self = .string(text)
    case .tuple(let items): self = .tuple(try items.values.map(Key.init))
    case .undefined: self = .undefined
    case .macro(let macro): self = .object(ObjectIdentifier(macro))
    case .loop(let loop): self = .object(ObjectIdentifier(loop))
    case .namespace(let namespace): self = .object(ObjectIdentifier(namespace))
    case .iterator(let items): self = .object(ObjectIdentifier(items))
    case .range, .method, .function: throw TemplateError.unsupported("a \(value.typeName) as a key")
    default: throw TemplateError.typeError("unhashable type: '\(value.typeName)'")
    }
  }
}

struct NumberRange: Equatable {
  var start: Int
  var stop: Int
  var step: Int

  var count: Int {
    if step > 0 { return start < stop ? (stop - start - 1) / step + 1 : 0 }
    return start > stop ? (start - stop - 1) / -step + 1 : 0
  }

  func value(_ index: Int) -> Value { .integer(start + index * step) }
}

/// Elements that are made when they are first asked for, and are gone once taken.
final class LazyItems {
  let depth: Int
  private var make: (() throws -> [Value])?
  private var items: ArraySlice<Value> = []

  init(around source: Value, _ make: @escaping () throws -> [Value]) throws {
    depth = try Value.depth(around: CollectionOfOne(source))
    self.make = make
  }

  func takeAll() throws -> [Value] {
    try fill()
    defer { items = [] }
    return Array(items)
  }

  func takeFirst() throws -> Value? {
    try fill()
    return items.popFirst()
  }

  private func fill() throws {
    guard let make else { return }
    self.make = nil
    items = try make()[...]
  }
}

/// What `namespace()` makes: the one thing that a template may change.
final class Namespace {
  var attributes: [(name: Text, value: Value)] = []

  subscript(name: Text) -> Value? {
    get { attributes.first { $0.name == name }?.value }
    set {
      guard let newValue else { return }
      if let index = attributes.firstIndex(where: { $0.name == name }) {
        attributes[index].value = newValue
      } else {
        attributes.append((name, newValue))
      }
    }
  }
}

/// The body of a macro or of a call block, with the scope it was written in.
final class Macro {
  let definition: MacroDefinition
  var scope: Scope?

  init(_ definition: MacroDefinition, scope: Scope) {
    self.definition = definition
    self.scope = scope
  }
}

/// A method that was looked up but not called yet.
struct Method {
  indirect enum Receiver { case value(Value) }

  private let box: Receiver
  let name: String

  init(_ receiver: Value, _ name: String) {
    box = .value(receiver)
    self.name = name
  }

  var receiver: Value {
    switch box {
    case .value(let value): value
    }
  }
}

/// The functions that every template sees.
enum Function: String {
  case range, dict, namespace, lipsum, cycler, joiner
  /// The template itself: its blocks, which are not supported.
  case template = "self"
  case raiseException = "raise_exception"
  case strftimeNow = "strftime_now"
}

/// A value that is not there. It prints as nothing; most else is an error, which tells why.
final class Undefined {
  let message: String
  /// Whether the sandbox forbids what was asked for.
  let isForbidden: Bool

  init(_ message: String, isForbidden: Bool = false) {
    self.message = message
    self.isForbidden = isForbidden
  }

  convenience init(name: String) { self.init("'\(name)' is undefined") }

  var error: TemplateError {
    isForbidden ? TemplateError(.failed, "SecurityError: " + message) : .undefined(message)
  }
}

/// Variables of one block.
final class Scope {
  let parent: Scope?
  private var variables: [(name: Int, value: Value)] = []

  init(parent: Scope?) { self.parent = parent }

  subscript(name: Int) -> Value? {
    get {
      var scope: Scope? = self
      while let current = scope {
        for variable in current.variables where variable.name == name { return variable.value }
        scope = current.parent
      }
      return nil
    }
    set {
      guard let newValue else { return }
      if let index = variables.firstIndex(where: { $0.name == name }) {
        variables[index].value = newValue
      } else {
        variables.append((name, newValue))
      }
    }
  }

  func clear() { variables = [] }
}
