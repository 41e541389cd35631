import WeightSync
import Wire

// The frozen model of the KL term: pulled once, behind every version.
extension WeightPull {
  mutating func want(_ named: VersionAnnouncement.Reference?) throws {
    // A learner that has just begun anew names it a moment later; what is held stays until another one is named.
    guard wish.isTaken, let named else { return }
    let description = VersionDescription.reference(root: try Digest(named.root), byteCount: named.byteCount)
    guard description != wish.named else { return }
    if reference?.description != description { reference = nil }
    if case .pulling(let assembler) = stage, isReference(assembler) { abandon() }
    (wish.named, wish.paused) = (description, nil)
  }

  /// Whether the reference has its memory.
  package var hasBegunReference: Bool {
    if case .pulling(let assembler) = stage, isReference(assembler) { return true }
    return reference != nil || wish.paused != nil
  }

  func isReference(_ assembler: SnapshotAssembler) -> Bool {
    assembler.subject.version == VersionDescription.referenceVersion
  }

  /// With nothing else to pull: the reference model, unless the same bytes are here under another name.
  mutating func pullReference(_ now: Duration) throws -> [Message] {
    guard case .idle = stage, let wanted = wish.named, reference == nil else { return [] }
    if let held = base?.renamed(wanted) ?? inHand?.renamed(wanted) {
      reference = held
      wish.paused = nil
      return []
    }
    guard wish.paused != nil || wanted.byteCount <= wish.limit else { return [] }
    let assembler = try wish.paused ?? SnapshotAssembler(wanted, byteCountLimit: byteLimit)
    wish.paused = nil
    assembler.forgetRequests()
    stage = .pulling(assembler)
    lastProgress = now
    window.forget()
    return requests(assembler, now)
  }
}
