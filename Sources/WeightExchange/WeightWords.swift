import WeightSync
import Wire

// The wire's words for versions, deltas and plans, and `WeightSync`'s.

extension VersionDescription {
  /// - Throws: `WeightSyncError` when the announcement contradicts itself, or is not in our chunk size.
  package init(_ announcement: VersionAnnouncement) throws {
    try self.init(
      version: announcement.version, parent: Digest(announcement.parentIdentity), root: Digest(announcement.root),
      byteCount: announcement.byteCount, adapter: announcement.adapter.map { try AdapterDescription($0) },
      claimedIdentity: Digest(announcement.identity))
    guard announcement.chunkByteCount == WeightSnapshot.chunkByteCount else {
      throw WeightSyncError(
        "version \(announcement.version) is served in chunks of \(announcement.chunkByteCount) bytes")
    }
  }

  /// What peers are told of this version.
  package func announcement(delta: DeltaDescription? = nil, reference: VersionDescription? = nil) -> VersionAnnouncement
  {
    VersionAnnouncement(
      version: version, parentIdentity: parent.bytes, root: root.bytes, identity: identity.bytes, byteCount: byteCount,
      chunkByteCount: WeightSnapshot.chunkByteCount,
      adapter: adapter.map {
        VersionAnnouncement.Adapter(
          baseRoot: $0.baseRoot.bytes, baseByteCount: $0.baseByteCount, rank: $0.rank, scale: $0.scale,
          targets: $0.targets, mergedRoot: $0.mergedRoot.bytes)
      }, delta: delta.map { VersionAnnouncement.Delta(root: $0.root.bytes, byteCount: $0.byteCount) },
      reference: reference.map { VersionAnnouncement.Reference(root: $0.root.bytes, byteCount: $0.byteCount) })
  }
}

extension VersionStore {
  /// What peers are told of the newest version.
  package var announcement: VersionAnnouncement? {
    newest?.announcement(delta: newestDelta?.description, reference: reference?.description)
  }
}

extension DeltaDescription {
  init(_ step: DeltaStep) throws {
    self.init(
      parent: try Digest(step.parentIdentity), version: step.version, identity: try Digest(step.identity),
      root: try Digest(step.bytes.root), byteCount: step.bytes.byteCount)
  }

  /// The delta to an announced version from its parent; nil when none is served.
  init?(_ announcement: VersionAnnouncement) throws {
    guard let delta = announcement.delta else { return nil }
    self.init(
      parent: try Digest(announcement.parentIdentity), version: announcement.version,
      identity: try Digest(announcement.identity), root: try Digest(delta.root), byteCount: delta.byteCount)
  }

  var step: DeltaStep {
    DeltaStep(
      parentIdentity: parent.bytes, version: version, identity: identity.bytes,
      bytes: VersionAnnouncement.Delta(root: root.bytes, byteCount: byteCount))
  }
}

extension WeightPlanDescription {
  package init(_ plan: WeightPlan) {
    self.init(
      target: plan.target.announcement(), start: plan.start?.announcement(), deltas: plan.deltas.map(\.step))
  }
}

extension AdapterDescription {
  /// - Throws: `WeightSyncError` when a digest is not one.
  init(_ adapter: VersionAnnouncement.Adapter) throws {
    self.init(
      baseRoot: try Digest(adapter.baseRoot), baseByteCount: adapter.baseByteCount, rank: adapter.rank,
      scale: adapter.scale, targets: adapter.targets, mergedRoot: try Digest(adapter.mergedRoot))
  }
}
