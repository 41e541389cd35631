/// Why a template gave no text.
public struct TemplateError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// The template called `raise_exception`.
    case raised
    /// The template is malformed or fails while it runs, as it would in Python.
    case failed
    /// The template asks for something that this interpreter does not know. Python might render it.
    case unsupported
    /// The template takes more time, memory or nesting than it may.
    case limit
  }

  public var kind: Kind
  /// What happened; of a failure, Python's type of error comes first.
  public var message: String
  /// The line of the template, from 1, where it is known.
  public var line: Int?

  public init(_ kind: Kind, _ message: String, line: Int? = nil) {
    self.kind = kind
    self.message = message
    self.line = line
  }

  public var description: String { line.map { "line \($0): \(message)" } ?? message }

  package static func typeError(_ message: String) -> TemplateError { TemplateError(.failed, "TypeError: " + message) }
  package static func valueError(_ message: String) -> TemplateError {
    TemplateError(.failed, "ValueError: " + message)
  }
  package static func undefined(_ message: String) -> TemplateError {
    TemplateError(.failed, "UndefinedError: " + message)
  }
  package static func unsupported(_ construct: String) -> TemplateError {
    TemplateError(.unsupported, "\(construct) is not supported")
  }
  package static var tooLarge: TemplateError { .unsupported("an integer beyond 64 bits") }
  package static func syntax(_ message: String, line: Int) -> TemplateError {
    TemplateError(.failed, "TemplateSyntaxError: " + message, line: line)
  }
}
