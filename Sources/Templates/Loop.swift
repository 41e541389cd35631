import TemplateSyntax

/// What a template sees as `loop`: the elements of a `for`, taken one at a time so that its condition is tested when an
/// element's turn comes.
final class Loop {
  let nesting: Int
  /// Loops of a recursive loop around this one.
  let depth0: Int
  /// Renders the body for other elements, where the loop is recursive.
  var recurse: ((Value) throws -> Value)?
  private var source: ArraySlice<Value>
  private var passes: ((Value) throws -> Bool)?
  /// Whether the elements have a length of their own.
  private let isSized: Bool
  private let sourceCount: Int
  private var ahead: ArraySlice<Value> = []
  private(set) var index0 = -1
  private var current: Value?
  private var previous: Value?
  private var lastChanged: [Value]?
  private var knownLength: Int?

  init(_ source: [Value], depth0: Int, passes: ((Value) throws -> Bool)?) throws {
    nesting = try Value.depth(around: source)
    self.source = source[...]
    self.depth0 = depth0
    self.passes = passes
    isSized = passes == nil
    sourceCount = source.count
  }

  private func pull() throws -> Value? {
    while let value = source.popFirst() {
      if try passes?(value) ?? true { return value }
    }
    // An empty slice would hold its elements still.
    source = []
    return nil
  }

  func next() throws -> Value? {
    let value: Value?
    if ahead.isEmpty { value = try pull() } else { value = ahead.popFirst() }
    guard let value else { return nil }
    index0 += 1
    previous = current
    current = value
    return value
  }

  private func peek() throws -> Value? {
    if ahead.isEmpty, let value = try pull() { ahead.append(value) }
    return ahead.first
  }

  func length() throws -> Int {
    if let knownLength { return knownLength }
    if isSized {
      knownLength = sourceCount
      return sourceCount
    }
    while let value = try pull() { ahead.append(value) }
    let length = index0 + 1 + ahead.count
    knownLength = length
    return length
  }

  /// An attribute; nil when a loop has none of this name.
  func attribute(_ name: String) throws -> Value? {
    switch name {
    case "index": return .integer(index0 + 1)
    case "index0": return .integer(index0)
    case "revindex": return .integer(try length() - index0)
    case "revindex0": return .integer(try length() - index0 - 1)
    case "first": return .bool(index0 == 0)
    case "last": return .bool(try peek() == nil)
    case "length": return .integer(try length())
    case "depth": return .integer(depth0 + 1)
    case "depth0": return .integer(depth0)
    case "previtem":
      return (index0 == 0 ? nil : previous) ?? .undefined(Undefined("there is no previous item"))
    case "nextitem": return try peek() ?? .undefined(Undefined("there is no next item"))
    case "cycle", "changed": return .method(Method(.loop(self), name))
    default: return nil
    }
  }

  func changed(_ values: [Value]) throws -> Bool {
    if let lastChanged, try Value.areEqual(lastChanged, values) { return false }
    lastChanged = values
    return true
  }

  func clear() {
    source = []
    ahead = []
    current = nil
    previous = nil
    lastChanged = nil
    passes = nil
    recurse = nil
  }
}
