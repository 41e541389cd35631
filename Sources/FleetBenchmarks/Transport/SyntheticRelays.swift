import Logging
import Machine
import Relay
import Sessions
import Transport

/// Real relays between the learner's front end and the synthetic workers, each with its threads, in this process.
final class SyntheticRelays {
  private let services: [RelayService]
  private var threads: [IOThread] = []
  /// Where workers attach, one for each relay.
  private(set) var endpoints: [String] = []

  /// Starts the relays and waits until workers can attach to them.
  /// - Parameters:
  ///   - upstream: what each shows the learner.
  ///   - downstream: what each shows its workers.
  /// - Throws: `RoleError` when one of them does not join the learner.
  init(
    _ count: Int, endpoint: String, upstream: [SocketSecurity], downstream: [SocketSecurity], logger: Logger
  ) throws {
    services = try (0..<count).map { index in
      var options = RelayServiceOptions(
        attachments: [Attachment(endpoint: endpoint, security: upstream.isEmpty ? .none : upstream[index])],
        name: "relay-\(index)", controlEndpoint: "tcp://127.0.0.1:0", announcementEndpoint: "tcp://127.0.0.1:0")
      if !downstream.isEmpty { options.security = downstream[index] }
      options.threadPrefix = ThreadUsage.relayPrefix
      return try RelayService(options, stop: StopSignal(.none), logger: logger)
    }
    let listening = Mailbox<(Int, String)>()
    threads = try services.enumerated().map { index, service in
      try IOThread(name: "relay") {
        do {
          try service.run { listening.put((index, $0.controlEndpoint)) }
        } catch {
          logger.error("a relay ended: \(error)")
        }
      }
    }
    var found = [String?](repeating: nil, count: count)
    let deadline = MonotonicClock.now() + .seconds(30)
    while found.contains(nil) {
      guard let (index, endpoint) = listening.take(within: max(.zero, deadline - MonotonicClock.now())) else {
        for service in services { service.abort() }
        for thread in threads { thread.join() }
        throw RoleError("only \(found.count { $0 != nil }) of \(count) relays joined within 30 s")
      }
      found[index] = endpoint
    }
    endpoints = found.compactMap(\.self)
  }

  var lostSessions: Int { services.reduce(0) { $0 + ($1.frontEnd?.statistics().counters.lostSessions ?? 0) } }

  /// After the learner has told them that the run is over.
  func join() { for thread in threads { thread.join() } }
}
