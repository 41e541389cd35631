import Coordination
import Training
import Wire

/// Why a lease from above is not going to be computed below.
package struct RoundFailure: Sendable, Equatable {
  package var reason: String
  /// The learner shall see for itself.
  package var isNotFinite = false
}

/// The leaves of one step, or of one lease from above.
struct GradientRound: Sendable {
  /// Of a relay: the lease from above.
  var id: UInt64
  var firstLeaseID: UInt64
  var offer: GradientOffer
  var leases: GradientLeases
  /// Whom each lease was granted to: nobody else may answer it.
  var holders: [UInt64: Party] = [:]
  var transfers: [UInt64: GradientTransfer] = [:]
  /// Computed, and not pulled yet: in order of their word.
  var waiting: [GradientReady] = []
  var arrived: [ArrivedGradient] = []
  /// Who was told of the weights, where they are intermediate ones.
  var told: [WorkerID: Duration] = [:]
  /// Of a relay: why nobody below can compute it.
  var failure: RoundFailure?
  var rejections = 0
  /// Of a relay: since when nobody has had any of what is left.
  var idleSince: Duration?

  /// Asks nobody for the gradient of a lease any longer.
  mutating func drop(_ leaseID: UInt64) {
    transfers[leaseID] = nil
    waiting.removeAll { $0.leaseID == leaseID }
  }

  /// A worker has a new session.
  mutating func move(from old: WorkerID, to new: WorkerID) {
    leases.transfer(from: old, to: new)
    for id in transfers.keys where transfers[id]!.worker == old { transfers[id]!.worker = new }
  }

  /// Whether a lease was granted to a party, whichever session it had then.
  func isHolder(_ party: Party?, of leaseID: UInt64) -> Bool { holders[leaseID].map { $0 == party } ?? true }
}
