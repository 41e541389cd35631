/// Why bytes are not a message, or a value cannot be sent as one.
public struct WireError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What was wrong and where (message and field), in words for the log.
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
