import JSON
import Parameters

extension ParameterValue {
  /// As a JSON file has it.
  public var json: JSONValue {
    switch self {
    case .integer(let value): .integer(value)
    case .number(let value): .decimal(value)
    case .flag(let value): .bool(value)
    case .text(let value): .string(value)
    case .null: .null
    }
  }
}
