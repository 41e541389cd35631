import Coordination
import Training
import Wire

/// A gradient that a worker computed and sent, not yet verified.
package struct ArrivedGradient: Sendable {
  /// The round that it belongs to.
  package var round: UInt64 = 0
  var leaseID: UInt64
  var worker: WorkerID
  var workerName: String
  /// Who answers for it; nil: the session is over.
  package var party: Party?
  package var isFromRelay = false
  package var leaves: Range<Int>
  package var node: GradientTree.Node
  package var payload: GradientPayload
  /// The Merkle root that the worker announced.
  package var root: [UInt8]
  package var results: [LeafResult]
  /// Who computed the leaves, in their order: the worker itself, or those below a relay.
  package var origins: [GradientOrigin]
  /// What it cost: seconds of computing and of its way here, times threads.
  package var threadSeconds: Double
}
