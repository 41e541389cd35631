import WeightSync

// Links that are too narrow for the versions.
extension WeightPull {
  /// A newer version than the one under way was announced. What has begun is finished when deltas lead on from it, or when it
  /// may still be sampled with: a link that needs several steps for a version gets there, too.
  mutating func isWorthFinishing(_ assembler: SnapshotAssembler) -> Bool {
    guard let goal, assembler.subject.version >= 0 else { return false }
    if goal.description.adapter == nil, goal.delta != nil { return true }
    guard !assembler.subject.isDelta,
      goal.description.version - assembler.subject.version <= pace.maxStaleness
    else { return false }
    // Deltas to what was the newest version are not served any longer.
    route = []
    return true
  }

  mutating func noteArrival(_ now: Duration) {
    guard let goal, let inHand else { return }
    pace.arrived(
      lag: goal.description.version - inHand.version, byteCount: goal.description.byteCount,
      delta: goal.delta?.byteCount, now: now)
  }
}
