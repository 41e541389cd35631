/// Weights that are not what was announced, or that cannot be held.
public struct WeightSyncError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
