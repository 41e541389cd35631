/// What went wrong in training and what to do about it.
public struct TrainingError: Error, Sendable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}
