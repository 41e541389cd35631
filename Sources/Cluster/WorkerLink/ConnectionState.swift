import Glibc
import Synchronization
import Transport

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

/// Asks the resolver, which may take long, on a thread of its own.
final class NameLookup: Sendable {
  private let complaint = Mutex<String?>(nil)
  private let isRunning = Mutex(false)

  /// What the last look-up that is done said against the name; nil: nothing.
  var problem: String? { complaint.withLock { $0 } }

  /// Begins a look-up, unless one is under way.
  func start(_ endpoint: Endpoint) {
    guard endpoint.kind == .tcp,
      isRunning.withLock({ running in
        defer { running = true }
        return !running
      })
    else { return }
    let lookup = self
    let thread = try? IOThread(name: "resolver") {
      var hints = addrinfo()
      hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
      var found: UnsafeMutablePointer<addrinfo>?
      let status = getaddrinfo(endpoint.host, nil, &hints, &found)
      if let found { freeaddrinfo(found) }
      let problem =
        status == 0 ? nil : "the name \(endpoint.host) cannot be resolved: \(String(cString: gai_strerror(status)))"
      lookup.complaint.withLock { $0 = problem }
      lookup.isRunning.withLock { $0 = false }
    }
    if thread == nil { isRunning.withLock { $0 = false } }
  }
}

extension WorkerLoop {
  /// Why nobody has welcomed the worker, as far as its connection tells.
  var whatIsMissing: String {
    switch connectionState {
    case .nothing:
      nameLookup.problem
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
