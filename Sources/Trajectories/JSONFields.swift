import JSON
import Thinking

/// Typed access to JSON values, with errors that name the path of the offender ("segments[0].values[2][1]: NaN …").
struct JSONFields {
  let fields: JSONObject
  let path: String

  init(_ value: JSONValue, _ path: String) throws {
    guard case .object(let fields) = value else {
      throw ThinkingError("\(path.isEmpty ? "the line" : path) is \(value.named); an object is expected")
    }
    self.fields = fields
    self.path = path
  }

  func key(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

  /// `nil` when absent or null.
  subscript(_ name: String) -> JSONValue? {
    guard let value = fields[name] else { return nil }
    if case .null = value { return nil }
    return value
  }

  func required(_ name: String) throws -> JSONValue {
    if let value = self[name] { return value }
    let near = nearestName(to: name, among: fields.members.map(\.key).sorted())
    throw ThinkingError("\(key(name)) is missing" + (near.map { " (there is a key '\($0)')" } ?? ""))
  }

  func integer(_ name: String) throws -> Int? { try self[name].map { try jsonInteger($0, key(name)) } }
  func float(_ name: String) throws -> Float? { try self[name].map { try jsonFloat($0, key(name)) } }

  func string(_ name: String) throws -> String? {
    guard let value = self[name] else { return nil }
    guard case .string(let text) = value else {
      throw ThinkingError("\(key(name)) is \(value.named); a string is expected")
    }
    return text
  }

  func name<Name: RawRepresentable & CaseIterable>(_ name: String) throws -> Name? where Name.RawValue == String {
    guard let text = try string(name) else { return nil }
    if let known = Name(rawValue: text) { return known }
    throw ThinkingError(unknownNameMessage(text, key: key(name), known: Name.allCases.map(\.rawValue)))
  }
}

func jsonArray(_ value: JSONValue, _ path: @autoclosure () -> String) throws -> [JSONValue] {
  guard case .array(let elements) = value else {
    throw ThinkingError("\(path()) is \(value.named); an array is expected")
  }
  return elements
}

/// An integer; `3.0` is not one, nor is a number beyond `Int`.
func jsonInteger(_ value: JSONValue, _ path: @autoclosure () -> String) throws -> Int {
  guard case .integer(let integer) = value else {
    throw ThinkingError("\(path()) is \(value.named); an integer is expected")
  }
  return integer
}

/// A token id: an integer in [0, 2^31).
func jsonTokenID(_ value: JSONValue, _ path: @autoclosure () -> String) throws -> Int32 {
  let integer = try jsonInteger(value, path())
  guard integer >= 0, let id = Int32(exactly: integer) else {
    throw ThinkingError("\(path()) is \(integer); a token id is an integer from 0 to 2147483647")
  }
  return id
}

/// A finite `Float`, rounded once from its decimal text.
func jsonFloat(_ value: JSONValue, _ path: @autoclosure () -> String) throws -> Float {
  switch value {
  case .integer(let integer): return Float(integer)
  case .number(let number):
    guard let float = Float(number.text), float.isFinite else {
      throw ThinkingError("\(path()) is \(value.named); it does not fit a 32-bit float")
    }
    return float
  case .nonFinite(let text): throw ThinkingError("\(text) in \(path()); only finite numbers are meaningful here")
  default: throw ThinkingError("\(path()) is \(value.named); a number is expected")
  }
}

extension JSONValue {
  /// Parses one line of a trajectory file. `NaN` and infinities are recognised, to be complained of by name.
  /// - Throws: `ThinkingError` with the column (in bytes, from 1).
  init(line: String) throws {
    do {
      try self.init(
        parsing: Array(line.utf8),
        JSONReading(depthLimit: 32, acceptsNonFinite: true, replacesLoneSurrogates: true))
    } catch {
      throw ThinkingError("not valid JSON at column \(error.column): \(error.reason)")
    }
  }

  /// What the value is, for messages.
  var named: String {
    switch self {
    case .integer(let integer): "the number \(integer)"
    case .number(let number): "the number \(number.text.prefix(40))"
    case .string(let text): "the string \"\(text.prefix(40))\""
    case .array: "an array"
    default: kind
    }
  }
}
