import Transport

/// The places that a worker may attach to, and how it gets from the name of one to a connection. Pure.
struct Places {
  /// Its user's, in their order.
  let all: [(endpoint: Endpoint, security: SocketSecurity)]
  /// The one that it is trying or using.
  private(set) var current = 0
  /// Those whose handshake was completed once: their keys are right.
  private var proven: Set<Int> = []
  /// In a row, at the current one.
  private var brokenHandshakes = 0
  /// Which of a place's addresses is due, by place.
  private var turns: [Int: Int] = [:]
  /// What the open connection goes to; nil while its name is looked up.
  private(set) var address: Endpoint?
  /// Why the name was not found, when it was not.
  private(set) var failure: String?
  /// When to look again after that.
  private var nextLookup: Duration = .zero

  init(_ all: [(endpoint: Endpoint, security: SocketSecurity)]) { self.all = all }

  var endpoint: Endpoint { all[current].endpoint }
  var security: SocketSecurity { all[current].security }
  var first: (endpoint: Endpoint, security: SocketSecurity) { all[0] }

  /// - Returns: false when there is but one.
  mutating func goToNext() -> Bool {
    guard all.count > 1 else { return false }
    (current, brokenHandshakes) = ((current + 1) % all.count, 0)
    return true
  }

  mutating func goToFirst() { (current, brokenHandshakes) = (0, 0) }

  /// There is a new connection, which goes nowhere yet.
  mutating func opened() { (address, failure, nextLookup) = (nil, nil, .zero) }

  func mayLookUp(_ now: Duration) -> Bool { address == nil && now >= nextLookup }

  /// The address of a place that is due. A name may have several, of which one answers.
  func choose(_ addresses: [Endpoint], of place: Int) -> Endpoint {
    addresses[turns[place, default: 0] % addresses.count]
  }

  mutating func connected(to address: Endpoint) { (self.address, failure) = (address, nil) }

  /// - Returns: whether this is the first time in a row.
  mutating func notFound(_ reason: String, _ now: Duration) -> Bool {
    defer { (failure, nextLookup) = (reason, now + .seconds(1)) }
    return failure == nil
  }

  /// Nobody answered at the address that was tried.
  mutating func unanswered() { turns[current, default: 0] += 1 }

  mutating func completedHandshake() {
    proven.insert(current)
    brokenHandshakes = 0
  }

  /// - Returns: whether the keys are probably wrong. A link that breaks, or a learner that restarts, looks much the same: only
  ///   what has never been let in is taken for it.
  mutating func brokeHandshake(isClosedByPeer: Bool) -> Bool {
    brokenHandshakes += 1
    return (isClosedByPeer || security.isNone) && !proven.contains(current) && brokenHandshakes >= 3
  }
}
