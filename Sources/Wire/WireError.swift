/// Why bytes are not a message, or a value cannot be sent as one.
public struct WireError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What was wrong and where (message and field), in words for the log.
  public let message: String

  /// The sender is of another generation of the protocol: out of date, not hostile.
  public let isOtherGeneration: Bool

  public init(_ message: String, isOtherGeneration: Bool = false) {
    // It may quote the sender, and travels back in an answer.
    self.message = message.bounded(toBytes: String.reasonByteCount)
    self.isOtherGeneration = isOtherGeneration
  }

  public var description: String { message }
}
