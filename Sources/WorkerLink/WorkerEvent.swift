import Gradients
import WeightSync
import Wire

/// What a worker's engine learns from its link, in this order of things: `joined`, then `base` where adapters are trained,
/// then `weights`, then leases that those weights may sample.
public enum WorkerEvent: Sendable {
  /// A learner process that is new to this worker: all earlier leases and results are void. Allocate the model it describes.
  case joined(Welcome)
  /// What the adapters of the versions that follow are merged into: complete and verified.
  case base(WeightSnapshot)
  /// A complete, verified version. The link holds on to the newest; sample with it from the next lease on.
  case weights(WeightSnapshot)
  /// Of a relay: deltas that are complete and verified, and what they lead to. That version follows once they are applied.
  case deltas([WeightDelta], target: VersionDescription)
  /// The frozen model of the KL term, complete and verified: comes before the gradients that need it.
  case reference(WeightSnapshot)
  /// Weights between two optimiser steps, complete and verified: for the gradients that name them, until the next `weights`, and
  /// for nothing else.
  case gradientWeights(IntermediateVersion)
  /// Work. The newest `weights` are within `policyVersions`.
  case lease(Lease)
  /// A gradient to compute, under the newest `weights` or `gradientWeights`.
  case gradient(GradientTask)
  /// Stop working on these leases, of samples or of gradients; their results are not wanted any longer.
  case cancelled(leaseIDs: [UInt64])
  /// Stop working on these samples of a lease.
  case cancelledSamples(leaseID: UInt64, sampleIndices: [Int])
  /// Of a relay: workers below it whom the learner caught, with every heartbeat.
  case caught(workers: [String])
  /// The learner is out of reach; the link keeps trying. Go on with what there is: finished results are kept.
  case disconnected(reason: String)
  /// Finish what was leased and end.
  case drain(reason: String)
  /// The run is over: the last event.
  case shutdown(reason: String)
}
