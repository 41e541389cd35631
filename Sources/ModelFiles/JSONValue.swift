/// A JSON value. Objects keep the order of their members; integers that fit `Int` stay exact.
public enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)

  /// An object with these members, in this order.
  public static func members(_ members: KeyValuePairs<String, JSONValue>) -> JSONValue {
    var object = JSONObject()
    for (key, value) in members { object[key] = value }
    return .object(object)
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
    case .number(let value): return Int(exactly: value)
    default: return nil
    }
  }

  public var doubleValue: Double? {
    switch self {
    case .integer(let value): return Double(value)
    case .number(let value): return value
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
