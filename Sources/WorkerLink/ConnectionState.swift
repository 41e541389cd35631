/// How far the connection to a learner has come: what a waiting worker can say of the reason.
enum ConnectionState {
  case nothing
  /// The transport's connection stands.
  case connected
  /// One or more ended in their handshake.
  case broken
  /// The handshake is over, so something speaks ZeroMQ there.
  case ready
}

extension WorkerLoop {
  /// Why nobody has welcomed the worker, as far as its connection tells.
  var whatIsMissing: String {
    switch connectionState {
    case .nothing:
      reach.failure.map { "the name \(endpoint.host) is not found: \($0)" }
        ?? "no connection yet: it is not there, or the address is wrong, or a firewall is in the way"
    case .connected:
      "a connection, but no handshake: something else than a softgrpo learner or relay listens there, or it hangs"
    case .broken:
      "its connections end in the handshake: is it a control endpoint (learner.control_endpoint, relay --bind), and not another?"
    case .ready:
      "what listens there does not answer: is it a control endpoint (learner.control_endpoint, relay --bind)?"
    }
  }
}
