import Coordination
import Wire

/// Who may be asked for gradients: the sessions that compute them, and the parties that are asked no longer. Pure.
struct GradientPeers: Sendable {
  /// Gradients that were of no use after which a party is not asked again.
  static let unusableLimit = 3

  private(set) var all: [WorkerID: GradientPeer] = [:]
  /// Of a relay: names of workers that the learner excluded.
  var knownExclusions: Set<String> = []
  private var excludedParties: Set<Party> = []
  private var unusable: [Party: Int] = [:]

  subscript(worker: WorkerID) -> GradientPeer? { all[worker] }

  /// A session begins.
  ///
  /// - Parameter older: the session that it goes on with, which ends.
  mutating func join(_ worker: WorkerID, hello: Hello, older: WorkerID?, party: Party?) {
    var classes: [GradientClass]? = hello.isRelay ? [] : nil
    if let older {
      if hello.isRelay { classes = all[older]?.classes ?? [] }
      all[older] = nil
    }
    guard hello.computesGradients else { return }
    all[worker] = GradientPeer(
      name: hello.workerName, incarnation: hello.incarnation, fingerprint: hello.fingerprint, threads: hello.threads,
      party: party, classes: classes, hasDeclined: party.map(excludedParties.contains) ?? false)
  }

  mutating func leave(_ worker: WorkerID) { all[worker] = nil }

  /// A session is asked for nothing more, or a relay not until others are below it.
  mutating func decline(_ worker: WorkerID) { all[worker]?.hasDeclined = true }

  /// - Returns: the peer when that is news.
  mutating func note(gradientVersion: Int?, of worker: WorkerID) -> GradientPeer? {
    guard let peer = all[worker], peer.gradientVersion != gradientVersion else { return nil }
    all[worker]!.gradientVersion = gradientVersion
    return peer
  }

  /// A relay tells who is below it.
  ///
  /// - Throws: `WireError` when it is none.
  mutating func report(_ classes: [GradientClass], by worker: WorkerID) throws {
    guard let peer = all[worker], peer.isRelay else {
      guard classes.isEmpty else { throw WireError("a worker that is no relay names workers below it") }
      return
    }
    guard peer.classes != classes else { return }
    all[worker]!.classes = classes
    // Others may be able to do what those before could not.
    all[worker]!.hasDeclined = false
  }

  /// A party is asked for no gradients any longer, in whatever session.
  mutating func exclude(_ party: Party) {
    excludedParties.insert(party)
    for id in all.keys where all[id]!.party == party { all[id]!.hasDeclined = true }
  }

  /// A gradient of a session's party was not usable, or was called not finite while the run went on: such a party is not asked for
  /// ever.
  mutating func countUnusable(of worker: WorkerID) {
    guard let party = all[worker]?.party else { return }
    unusable[party, default: 0] += 1
    if unusable[party]! >= Self.unusableLimit { exclude(party) }
  }

  /// Who could compute an offer's leaves, in a fixed order.
  func candidates(for offer: GradientOffer) -> [GradientCandidate] {
    all.sorted { $0.key < $1.key }.compactMap { id, peer in
      let power = peer.power(for: offer)
      guard !peer.hasDeclined, power.workers > 0 else { return nil }
      return GradientCandidate(id: id, peer: peer, workers: power.workers, threads: power.threads)
    }
  }

  /// Who below a relay computes gradients now.
  ///
  /// - Parameters:
  ///   - version: only those that are ready to compute with this intermediate version; nil: all.
  ///   - isPresent: whether a worker has weights and is not about to leave.
  func classes(readyFor version: Int?, isPresent: (WorkerID) -> Bool) -> [GradientClass] {
    var classes: [String: GradientClass] = [:]
    func add(_ part: GradientClass) {
      let before = classes[part.fingerprint] ?? GradientClass(fingerprint: part.fingerprint, workerCount: 0, threads: 0)
      classes[part.fingerprint] = GradientClass(
        fingerprint: part.fingerprint, workerCount: min(before.workerCount + part.workerCount, Int(Int32.max)),
        threads: min(before.threads + part.threads, Int(Int32.max)))
    }
    for (id, peer) in all
    where !peer.hasDeclined && isPresent(id) && (version == nil || peer.gradientVersion == version) {
      if let below = peer.classes {
        for part in below { add(part) }
      } else if !knownExclusions.contains(peer.name) {
        add(GradientClass(fingerprint: peer.fingerprint, workerCount: 1, threads: max(1, peer.threads)))
      }
    }
    return Array(
      classes.values.sorted { ($1.threads, $0.fingerprint) < ($0.threads, $1.fingerprint) }
        .prefix(WireLimits.gradientClassCount))
  }

  /// Whether at least half of those that are present are ready to compute with an intermediate version.
  func isHalfReady(for version: Int, isPresent: (WorkerID) -> Bool) -> Bool {
    let able = all.filter { !$0.value.hasDeclined && isPresent($0.key) }.values
    let ready = able.count { $0.gradientVersion == version }
    return ready > 0 && 2 * ready >= able.count
  }
}
