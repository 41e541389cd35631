/// Work or versions that contradict what the state machines know: a mistake of the caller.
public struct CoordinationError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
