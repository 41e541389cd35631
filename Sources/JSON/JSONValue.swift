/// A JSON value. Objects keep the order of their members, integers that fit `Int` stay exact, other numbers keep their text.
public enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(JSONNumber)
  /// Python's `NaN`, `Infinity` or `-Infinity`, where they were asked for: no JSON, and no number either.
  case nonFinite(String)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)

  /// An object with these members, in this order.
  public static func members(_ members: KeyValuePairs<String, JSONValue>) -> JSONValue {
    var object = JSONObject()
    for (key, value) in members { object[key] = value }
    return .object(object)
  }

  /// A number that reads back exactly; null for what JSON cannot write.
  public static func decimal(_ value: Double) -> JSONValue {
    value.isFinite ? .number(JSONNumber(text: "\(value)")) : .null
  }

  public subscript(key: String) -> JSONValue? {
    if case .object(let object) = self { return object[key] }
    return nil
  }

  public var stringValue: String? {
    if case .string(let value) = self { return value }
    return nil
  }

  public var boolValue: Bool? {
    if case .bool(let value) = self { return value }
    return nil
  }

  /// The integer, also when written as `8192.0`.
  public var integerValue: Int? {
    switch self {
    case .integer(let value): return value
    case .number(let value): return Int(exactly: value.double)
    default: return nil
    }
  }

  /// Nil also for a number beyond `Double`, such as 1e999.
  public var doubleValue: Double? {
    switch self {
    case .integer(let value): return Double(value)
    case .number(let value): return value.double.isFinite ? value.double : nil
    default: return nil
    }
  }

  public var arrayValue: [JSONValue]? {
    if case .array(let value) = self { return value }
    return nil
  }

  public var objectValue: JSONObject? {
    if case .object(let value) = self { return value }
    return nil
  }

  public var isNull: Bool { self == .null }

  /// What kind of value it is, for messages: "an array".
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .integer, .number: "a number"
    case .nonFinite(let text): text
    case .string: "a string"
    case .array(let elements): elements.isEmpty ? "an empty array" : "an array"
    case .object: "an object"
    }
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral {
  public init(stringLiteral value: String) { self = .string(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
}

/// A number with a fraction or an exponent, or beyond `Int`. It keeps its text, so that it is rounded once, to whatever
/// type it is read as.
public struct JSONNumber: Sendable, Equatable {
  public let text: String

  /// - Parameter text: a number by the JSON grammar.
  init(text: String) { self.text = text }

  /// The nearest `Double`; infinite beyond its range.
  public var double: Double { Double(text) ?? .nan }

  /// Numbers are equal when they are as `Double`s: 1e2 is 100.0.
  public static func == (left: JSONNumber, right: JSONNumber) -> Bool { left.double == right.double }
}

/// Members of a JSON object in the order of the file. Keys are unique.
public struct JSONObject: Sendable, Equatable {
  public private(set) var members: [(key: String, value: JSONValue)] = []
  private var positions: [ExactString: Int] = [:]

  public init() {}

  public var count: Int { members.count }

  public subscript(key: String) -> JSONValue? {
    get { positions[ExactString(key)].map { members[$0].value } }
    set {
      let key = ExactString(key)
      switch (positions[key], newValue) {
      case (let position?, let value?): members[position].value = value
      case (nil, let value?):
        positions[key] = members.count
        members.append((key.text, value))
      case (let position?, nil):
        members.remove(at: position)
        positions = Dictionary(uniqueKeysWithValues: members.enumerated().map { (ExactString($1.key), $0) })
      case (nil, nil): break
      }
    }
  }

  public static func == (left: JSONObject, right: JSONObject) -> Bool {
    left.count == right.count && left.members.elementsEqual(right.members) { $0.key == $1.key && $0.value == $1.value }
  }
}

/// A string compared by its bytes. `String` itself equates canonically equivalent spellings, which are different keys
/// in JSON and different tokens in a vocabulary.
struct ExactString: Hashable {
  let text: String

  init(_ text: String) { self.text = text }

  static func == (left: ExactString, right: ExactString) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

  func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
