import Transport

/// How a worker gets from the names of its places to a connection.
struct Reach {
  /// What the open connection goes to; nil while its name is looked up.
  var address: Endpoint?
  /// Why the name was not found, when it was not.
  var failure: String?
  /// When to look again after that.
  var nextLookup: Duration = .zero
  /// Which of an attachment's addresses is due, by attachment.
  var turns: [Int: Int] = [:]

  /// There is a new connection, which goes nowhere yet.
  mutating func opened() { (address, failure, nextLookup) = (nil, nil, .zero) }
}

extension WorkerLoop {
  /// Connects the open connection as soon as the address of its place is known.
  func connectWhenFound(_ now: Duration) throws {
    guard reach.address == nil, now >= reach.nextLookup else { return }
    switch try lookup.ask(endpoint) {
    case .pending: break
    case .found(let addresses):
      let address = addresses[reach.turns[attachment, default: 0] % addresses.count]
      try dealer.connect(address)
      (reach.address, reach.failure) = (address, nil)
    case .failed(let reason):
      if reach.failure == nil { logger.debug("the name \(endpoint.host) is not found: \(reason)") }
      reach.failure = reason
      reach.nextLookup = now + .seconds(1)
    }
  }

  /// A connection to the first place.
  func openProbe(_ addresses: [Endpoint]) throws -> Socket {
    let socket = try Self.openDealer(context, limits, attachments[0].security)
    try socket.connect(addresses[reach.turns[0, default: 0] % addresses.count])
    return socket
  }
}
