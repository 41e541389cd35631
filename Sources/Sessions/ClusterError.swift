/// A role of the cluster cannot go on; the message says why and what to do.
public struct ClusterError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
