/// What went wrong in this library and how to mend it.
public struct TokenizationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The text a user reads: what happened, where, and the remedy.
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
