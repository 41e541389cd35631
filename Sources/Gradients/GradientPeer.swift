import Coordination
import Wire

/// A worker process that computes gradients, or a relay with such workers below.
struct GradientPeer: Sendable {
  var name: String
  var incarnation: UInt64
  var fingerprint: String
  var threads: Int
  var party: Party?
  /// Of a relay: who is below.
  var classes: [GradientClass]?
  /// The intermediate version that it is ready to compute with.
  var gradientVersion: Int?
  /// It said that it cannot: no more leases in this session, or until other workers are below it.
  var hasDeclined = false

  var isRelay: Bool { classes != nil }

  /// Of one that holds the policy version.
  func hasWeights(of offer: GradientOffer) -> Bool { offer.intermediate == nil || gradientVersion == offer.version }

  /// Who of it may compute an offer's leaves.
  func power(for offer: GradientOffer) -> (workers: Int, threads: Int) {
    guard let classes else {
      let may = (offer.fingerprint ?? fingerprint) == fingerprint && !offer.excludedWorkers.contains(name)
      return may ? (1, max(1, threads)) : (0, 0)
    }
    guard offer.excluded(below: party).count <= WireLimits.excludedWorkerCount else { return (0, 0) }
    return classes.filter { offer.fingerprint ?? $0.fingerprint == $0.fingerprint }.reduce((0, 0)) {
      ($0.0 + $1.workerCount, $0.1 + max($1.workerCount, $1.threads))
    }
  }
}

/// A worker or relay that may have leaves of an offer.
struct GradientCandidate {
  var id: WorkerID
  var peer: GradientPeer
  /// Workers (one, or a relay's) and their threads.
  var workers: Int
  var threads: Int
}
