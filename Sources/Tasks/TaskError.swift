/// What a prompt file, a generated task or an estimator refuses, and what to do about it.
public struct TaskError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What happened, where (file:line, an option), and the remedy.
  public var message: String
  public var description: String { message }

  public init(_ message: String) { self.message = message }
}
