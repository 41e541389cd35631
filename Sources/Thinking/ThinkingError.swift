/// What went wrong in a thinking step, a policy or a trajectory: where it happened, and the remedy.
public struct ThinkingError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The message a user reads.
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
