import WeightSync
import Wire

/// What the engine was given and the learner was told, so that neither hears it twice.
struct Told {
  /// The learner process that the rest is of.
  private(set) var learner: UInt64?
  /// The weights that the engine was given last, the base of its adapters, the frozen model of the KL term, and the weights between
  /// two optimiser steps.
  var version: Digest?
  var base: Digest?
  var reference: Digest?
  var intermediate: Digest?
  /// The reference that there was no memory for.
  var refusedReference: Digest?
  /// The link is too narrow for the versions.
  var isNarrow = false
  /// What the last heartbeat said of those below a relay, and of the intermediate version that the engine is ready for.
  var gradientClasses: [GradientClass] = []
  var gradientVersion: Int?

  /// There is another learner process.
  mutating func learnerChanged(to learner: UInt64) {
    self.learner = learner
    (version, base, reference, intermediate, isNarrow) = (nil, nil, nil, nil, false)
  }
}
