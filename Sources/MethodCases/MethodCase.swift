import JSON
import Parameters

/// One case: its inputs, under the options of the file and its own.
struct MethodCase: Sendable {
  let value: JSONValue
  /// The file's options, overridden by the case's.
  let options: JSONObject

  subscript(key: String) -> JSONValue? { value[key] }

  init(_ value: JSONValue, defaults: JSONObject) {
    self.value = value
    var options = defaults
    for (key, own) in value["options"]?.objectValue?.members ?? [] { options[key] = own }
    self.options = options
  }

  func number(option key: String, default fallback: Double? = nil) throws -> Double {
    try given(key, fallback) { $0.doubleValue }
  }
  func integer(option key: String, default fallback: Int? = nil) throws -> Int {
    try given(key, fallback) { $0.integerValue }
  }
  func flag(option key: String, default fallback: Bool? = nil) throws -> Bool {
    try given(key, fallback) { $0.boolValue }
  }
  func text(option key: String, default fallback: String? = nil) throws -> String {
    try given(key, fallback) { $0.stringValue }
  }

  /// Nil where it is null or absent.
  func optionalNumber(option key: String) throws -> Double? {
    guard let value = options[key], !value.isNull else { return nil }
    return try number(option: key)
  }

  /// The option as one of an enumeration's names.
  func choice<Choice: RawRepresentable & CaseIterable>(
    option key: String, default fallback: Choice
  ) throws -> Choice where Choice.RawValue == String {
    guard let text = options[key]?.stringValue else { return fallback }
    guard let choice = Choice(rawValue: text) else {
      throw UnsupportedCase(
        unknownNameMessage(text, key: "option \(key)", known: Choice.allCases.map(\.rawValue)))
    }
    return choice
  }

  /// Refuses options that nothing reads: a number computed without them would be of another method.
  ///
  /// - Parameters:
  ///   - known: options that are read.
  ///   - fixed: options that are built with this one value.
  func require(options known: [String], fixed: [String: JSONValue] = [:]) throws {
    for (key, value) in options.members where !known.contains(key) {
      guard let built = fixed[key] else { throw UnsupportedCase("option \(key) is not built") }
      guard built == value || (built.doubleValue != nil && built.doubleValue == value.doubleValue) else {
        throw UnsupportedCase(
          "option \(key): \(value.encoded(indent: nil)) is not built, only \(built.encoded(indent: nil))")
      }
    }
  }

  private func given<Value>(_ key: String, _ fallback: Value?, _ read: (JSONValue) -> Value?) throws -> Value {
    if let value = options[key], !value.isNull {
      guard let result = read(value) else { throw UnsupportedCase("option \(key) is \(value.kind)") }
      return result
    }
    guard let fallback else { throw UnsupportedCase("option \(key) is missing") }
    return fallback
  }
}

// Reading lists, with the place of whatever does not fit.
extension JSONValue {
  func list(_ key: String) throws -> [JSONValue] {
    guard let list = self[key]?.arrayValue else { throw UnsupportedCase("\(key) must be an array") }
    return list
  }

  func double(_ key: String) throws -> Double {
    guard let number = self[key]?.doubleValue else { throw UnsupportedCase("\(key) must be a number") }
    return number
  }

  func integer(_ key: String) throws -> Int {
    guard let number = self[key]?.integerValue else { throw UnsupportedCase("\(key) must be an integer") }
    return number
  }

  func doubles(_ key: String) throws -> [Double] { try list(key).map { try $0.asDouble(key) } }
  func floats(_ key: String) throws -> [Float] { try doubles(key).map(Float.init) }
  func flags(_ key: String) throws -> [Bool] {
    try list(key).map {
      guard let flag = $0.boolValue else { throw UnsupportedCase("\(key) must hold true and false") }
      return flag
    }
  }
  func texts(_ key: String) throws -> [String] {
    try list(key).map {
      guard let text = $0.stringValue else { throw UnsupportedCase("\(key) must hold strings") }
      return text
    }
  }
  func integers(_ key: String) throws -> [Int] {
    try list(key).map {
      guard let number = $0.integerValue else { throw UnsupportedCase("\(key) must hold integers") }
      return number
    }
  }
  /// Token ids of several trajectories.
  func tokenRows(_ key: String) throws -> [[Int32]] {
    try list(key).map { row in
      try (row.arrayValue ?? []).map {
        guard let id = $0.integerValue.flatMap(Int32.init(exactly:)) else {
          throw UnsupportedCase("\(key) must hold token ids, not \($0.kind)")
        }
        return id
      }
    }
  }

  func rows(_ key: String) throws -> [[Double]] { try list(key).map { try $0.asDoubles(key) } }

  func asDouble(_ what: String) throws -> Double {
    guard let number = doubleValue else { throw UnsupportedCase("\(what) must hold numbers, not \(kind)") }
    return number
  }
  func asDoubles(_ what: String) throws -> [Double] {
    guard let list = arrayValue else { throw UnsupportedCase("\(what) must hold arrays of numbers, not \(kind)") }
    return try list.map { try $0.asDouble(what) }
  }
}

// Writing.
func json(_ value: Double) -> JSONValue { .decimal(value) }
func json(_ values: [Double]) -> JSONValue { .array(values.map { .decimal($0) }) }
func json(_ values: [[Double]]) -> JSONValue { .array(values.map { json($0) }) }
func json(_ values: [Float]) -> JSONValue { .array(values.map { .decimal(Double($0)) }) }
func json(_ values: [[Float]]) -> JSONValue { .array(values.map { json($0) }) }
func json(_ values: [Bool]) -> JSONValue { .array(values.map { .bool($0) }) }
func json(_ values: [[Bool]]) -> JSONValue { .array(values.map { json($0) }) }
func json(_ values: [Int]) -> JSONValue { .array(values.map { .integer($0) }) }

/// An entry's options as values of a part's parameters.
///
/// - Parameters:
///   - aliases: parameters whose names differ from the option's.
///   - ignoring: options that belong to something else than the part.
///   - fixed: options that are built with one value alone.
/// - Throws: `UnsupportedCase` for an option that the part does not have, or a value out of its range.
func part<Product>(
  _ registry: PartRegistry<Product>, _ name: String, _ method: MethodCase, aliases: [String: String] = [:],
  ignoring: [String] = [], fixed: [String: JSONValue] = [:], setting: [String: ParameterValue] = [:]
) throws -> Product {
  guard let entry = registry.entries.first(where: { $0.name == name }) else {
    throw UnsupportedCase("this build has no \(registry.kind) \(name)")
  }
  let known = Set(entry.parameters.map(\.name))
  var given = setting
  var read = ignoring
  for (option, value) in method.options.members {
    let parameter = aliases[option] ?? option
    guard known.contains(parameter), fixed[option] == nil else { continue }
    read.append(option)
    switch value {
    case .bool(let flag): given[parameter] = .flag(flag)
    case .string(let text): given[parameter] = .text(text)
    case .null:
      // Absent: null where there may be none, else the default.
      if case .optionalNumber? = entry.parameters.first(where: { $0.name == parameter })?.kind {
        given[parameter] = .null
      }
    default:
      if let integer = value.integerValue {
        given[parameter] = .integer(integer)
      } else if let number = value.doubleValue {
        given[parameter] = .number(number)
      }
    }
  }
  try method.require(options: read, fixed: fixed)
  do { return try registry.make(registry.describe(name, given)) } catch let error as ParameterError {
    throw UnsupportedCase(error.message)
  }
}
