/// What a benchmark cannot do and what to do about it.
public struct BenchmarkError: Error, Sendable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}
