import Transport

/// A learner or relay that a worker may attach to.
public struct Attachment: Sendable {
  /// The control endpoint. The announcement endpoint follows from the welcome.
  public var endpoint: String
  /// `client`: CURVE, with this worker's key and that learner's or relay's.
  public var security: SocketSecurity

  public init(endpoint: String, security: SocketSecurity = .none) {
    self.endpoint = endpoint
    self.security = security
  }
}
