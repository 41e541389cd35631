/// A model, its tokenizer or its weights cannot be used; the message says why and what to do.
public struct LoadingError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
