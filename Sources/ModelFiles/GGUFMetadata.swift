/// One value of a GGUF file's metadata. Integer widths are merged; numbers keep their value exactly.
public enum GGUFValue: Sendable, Equatable {
  case unsigned(UInt64)
  case signed(Int64)
  case float32(Float)
  case float64(Double)
  case bool(Bool)
  case string(String)
  case unsignedArray([UInt64])
  case signedArray([Int64])
  case floatArray([Double])
  case boolArray([Bool])
  case stringArray([String])
  /// An array of arrays.
  case array([GGUFValue])
}

/// The key-value section of a GGUF file: architecture, hyper-parameters and the whole tokenizer
/// (`tokenizer.ggml.tokens`, `.merges`, `.token_type`, `.pre`, `tokenizer.chat_template`).
public struct GGUFMetadata: Sendable {
  /// The file, for messages.
  public let path: String
  public let values: [String: GGUFValue]

  public init(path: String, values: [String: GGUFValue]) {
    self.path = path
    self.values = values
  }

  public subscript(key: String) -> GGUFValue? { values[key] }

  /// The string under `key`, nil when absent. Throws `ModelFileError` when it is of another type; so do the others.
  public func string(_ key: String) throws -> String? {
    switch values[key] {
    case nil: return nil
    case .string(let value): return value
    default: throw wrongType(key, "a string")
    }
  }

  public func integer(_ key: String) throws -> Int? {
    let exact: Int?
    switch values[key] {
    case nil: return nil
    case .unsigned(let value): exact = Int(exactly: value)
    case .signed(let value): exact = Int(exactly: value)
    default: throw wrongType(key, "an integer")
    }
    guard let exact else { throw wrongType(key, "an integer below 2^63") }
    return exact
  }

  /// The number under `key`. An fp32 becomes the shortest decimal that reads back as it: 1e-05, not 9.99999974e-06.
  public func number(_ key: String) throws -> Double? {
    switch values[key] {
    case nil: return nil
    case .float32(let value): return Double("\(value)") ?? Double(value)
    case .float64(let value): return value
    case .unsigned(let value): return Double(value)
    case .signed(let value): return Double(value)
    default: throw wrongType(key, "a number")
    }
  }

  public func bool(_ key: String) throws -> Bool? {
    switch values[key] {
    case nil: return nil
    case .bool(let value): return value
    default: throw wrongType(key, "true or false")
    }
  }

  public func strings(_ key: String) throws -> [String]? {
    switch values[key] {
    case nil: return nil
    case .stringArray(let value): return value
    default: throw wrongType(key, "a list of strings")
    }
  }

  public func integers(_ key: String) throws -> [Int]? {
    switch values[key] {
    case nil: return nil
    case .signedArray(let value): return value.map { Int($0) }
    case .unsignedArray(let value):
      let exact = value.compactMap { Int(exactly: $0) }
      guard exact.count == value.count else { throw wrongType(key, "a list of integers below 2^63") }
      return exact
    default: throw wrongType(key, "a list of integers")
    }
  }

  private func wrongType(_ key: String, _ expected: String) -> ModelFileError {
    ModelFileError(path: path, reason: "metadata \(key) is not \(expected)")
  }
}
