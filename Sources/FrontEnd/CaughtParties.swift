import Coordination

/// Parties that were caught, and why; and those whose sessions are still to be ended. Pure.
struct CaughtParties: Sendable {
  private var reasons: [Party: String] = [:]
  private var unended: [(party: Party, reason: String)] = []

  /// Why a party was caught; nil: it was not.
  subscript(party: Party) -> String? { reasons[party] }

  var all: Set<Party> { Set(reasons.keys) }

  /// Names of those behind a relay, ascending.
  func names(behind relay: Party) -> [String] {
    if reasons.isEmpty { return [] }
    let start = relay.behind(name: "").description
    return reasons.keys.map(\.description).filter { $0.hasPrefix(start) }.map { String($0.dropFirst(start.count)) }
      .sorted()
  }

  /// - Returns: whether it is news.
  mutating func add(_ party: Party, reason: String) -> Bool {
    guard reasons[party] == nil else { return false }
    reasons[party] = reason
    unended.append((party, reason))
    return true
  }

  /// What was said of a party is forgotten: it may come back.
  mutating func pardon(_ party: Party) { reasons[party] = nil }

  /// Those that were caught since the last call: their sessions are to be ended.
  mutating func takeUnended() -> [(party: Party, reason: String)] {
    defer { unended = [] }
    return unended
  }
}
