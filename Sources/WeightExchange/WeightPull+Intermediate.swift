import Logging
import WeightSync
import Wire

// Weights between two optimiser steps: pulled behind every version, used for gradients alone, gone with the next version.
extension WeightPull {
  /// The learner wants gradients under these weights, in place of those before.
  ///
  /// - Returns: what to ask the learner; nothing when they do not branch off what is in hand: that is a newer version already.
  /// - Throws: `WeightSyncError` when the description contradicts itself.
  package mutating func follow(_ announcement: VersionAnnouncement, now: Duration) throws -> [Message] {
    let description = try VersionDescription(announcement)
    guard let usable, description.parent == usable.description.identity, goal?.description == usable.description,
      description.adapter?.base == usable.description.adapter?.base, description.byteCount == usable.byteCount,
      description != intermediateGoal?.description
    else { return [] }
    dropIntermediate()
    intermediateGoal = Goal(description: description, delta: try DeltaDescription(announcement))
    return try pullIntermediate(now)
  }

  /// With nothing else to pull.
  mutating func pullIntermediate(_ now: Duration) throws -> [Message] {
    guard case .idle = stage, let wanted = intermediateGoal, intermediate == nil else { return [] }
    route.end = wanted.description
    route.pieces = [wanted.delta.map { .delta($0) } ?? .version(wanted.description)]
    return try pullNext(now)
  }

  /// Whether what is being pulled or applied is for gradients alone.
  var isAtIntermediate: Bool { route.end?.isIntermediate ?? false }

  /// They are of no use any longer.
  mutating func dropIntermediate() {
    if isAtIntermediate { abandon() }
    (intermediateGoal, intermediate) = (nil, nil)
  }

  /// They cannot be had: the learner lends what it would have lent here to others, or computes it itself.
  mutating func giveUpIntermediate(after error: any Error, _ now: Duration, _ logger: Logger) throws -> [Message] {
    logger.warning("\(error); no gradients are computed here until the next optimiser step")
    dropIntermediate()
    return try advance(now)
  }
}
