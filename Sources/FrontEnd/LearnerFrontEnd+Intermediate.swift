import Gradients
import Machine
import Transport
import WeightExchange
import WeightSync

// Weights between two optimiser steps, for gradients alone.
extension LearnerFrontEnd {
  /// What adapter versions are merged into; nil: versions are whole models.
  package var base: WeightSnapshot? { shared.state.withLock { $0.versions.base } }

  /// Whether workers would help enough with an offer whose weights are not published yet.
  ///
  /// - Parameter seconds: what publishing them costs.
  package func isWorthPublishing(_ offer: GradientOffer, seconds: Double) -> Bool {
    let holders = shared.state.withLock { $0.gradientHolders }
    return shared.gradients.state.withLock {
      $0.isWorthPublishing(offer, seconds: seconds, now: MonotonicClock.now()) { holders[$0] == $1 }
    }
  }

  /// Serves them, in place of those before. Who is to pull them is told when there is something to compute with them.
  ///
  /// - Throws: `WeightSyncError` unless they branch off the current version.
  package func publish(_ version: IntermediateVersion) throws {
    try shared.state.withLock { try $0.versions.publish(version) }
  }

  /// Of a relay: serves what came from above, and tells those below.
  ///
  /// - Throws: `WeightSyncError` unless it branches off the current version.
  package func passOn(_ version: IntermediateVersion) throws {
    try publish(version)
    let description = version.snapshot.description
    let (holders, policyVersion) = shared.state.withLock { ($0.gradientHolders, $0.versions.current?.version ?? -1) }
    let intermediate = GradientOffer.Intermediate(
      policyVersion: policyVersion, weightByteCount: description.adapter?.baseByteCount ?? description.byteCount,
      announcement: description.announcement(delta: version.delta?.description))
    shared.gradients.state.withLock { $0.passOn(intermediate) { holders[$0] == $1 } }
    shared.waker.wake()
  }

  package func withdrawIntermediate() { shared.state.withLock { $0.versions.withdrawIntermediate() } }
}
