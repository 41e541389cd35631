import TemplateSyntax

extension Literal {
  /// What it stands for.
  var value: Value {
    switch self {
    case .none: .none
    case .bool(let value): .bool(value)
    case .integer(let value): .integer(value)
    case .float(let value): .float(value)
    case .string(let text): .string(text)
    }
  }
}
