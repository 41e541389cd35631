/// What an objective, the optimiser or their options refuse, and what to do about it.
public struct OptimizationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What happened, where (a config key, an index), and the remedy.
  public var message: String
  public var description: String { message }

  public init(_ message: String) { self.message = message }
}
