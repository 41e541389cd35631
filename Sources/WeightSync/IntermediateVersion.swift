/// The weights after an optimiser step that is not the last of its training step: a version for gradients alone, beside the
/// chain. Its parent is the policy version that the training step began with, however many optimiser steps lie between them, and no
/// version descends from it: who holds the policy version needs one delta, whatever it has missed.
public struct IntermediateVersion: Sendable {
  public let snapshot: WeightSnapshot
  /// From the policy version; nil: it is pulled whole (adapters, or too many changes).
  public let delta: WeightDelta?

  public init(_ snapshot: WeightSnapshot, delta: WeightDelta?) {
    self.snapshot = snapshot
    self.delta = delta
  }
}

extension VersionDescription {
  /// The version number of the weights after the run's optimiser step `step`, from 1, where they are no policy version: below
  /// the reference's.
  public static func intermediateVersion(afterOptimizerStep step: Int) -> Int { referenceVersion - step }

  public static func isIntermediate(_ version: Int) -> Bool { version < referenceVersion }
  public var isIntermediate: Bool { Self.isIntermediate(version) }
}
