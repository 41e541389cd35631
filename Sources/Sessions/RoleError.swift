/// A role (learner, worker, relay) cannot go on, or not begin; the message says why and what to do.
public struct RoleError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
