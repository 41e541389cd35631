import Coordination
import Trajectories

/// Groups from their submission until the trainer has them: what was asked for, and the accepted samples so far. Which samples
/// are still to come is the lease table's to say. Pure.
struct SubmittedGroups: Sendable {
  private var groups: [Int: PromptGroup] = [:]
  /// Accepted samples, by ordinal and sample index.
  private var samples: [Int: [Int: CollectedTrajectory]] = [:]
  /// Samples that were accepted since somebody looked; nil: nobody looks.
  private var arrivals: [CollectedTrajectory]?
  /// Ordinals of complete groups in order of completion; some may become incomplete again when their samples go stale.
  private var completed: [Int] = []
  /// When the first sample of a group was granted, and when its last one came.
  private var firstGranted: [Int: Duration] = [:]
  private var completedAt: [Int: Duration] = [:]
  /// Handed out, then put back by a `collect` that ran out of time.
  private var putBack: [CompletedGroup] = []

  /// A group that is here.
  subscript(ordinal: Int) -> PromptGroup? { groups[ordinal] }

  /// Complete groups that can be handed out, those that were put back excepted.
  var completedCount: Int { completed.count }

  /// Takes a group in.
  ///
  /// - Parameter kept: samples that it has already.
  mutating func add(_ group: PromptGroup, keeping kept: [CollectedTrajectory] = []) {
    groups[group.ordinal] = group
    samples[group.ordinal] = Dictionary(uniqueKeysWithValues: kept.map { ($0.trajectory.sampleIndex, $0) })
  }

  /// A group's samples were granted: the first time counts.
  mutating func noteGrant(of ordinal: Int, now: Duration) {
    if firstGranted[ordinal] == nil { firstGranted[ordinal] = now }
  }

  /// Keeps an accepted sample of a group that is here.
  mutating func accept(_ sample: CollectedTrajectory, of ordinal: Int) {
    guard groups[ordinal] != nil else { return }
    samples[ordinal, default: [:]][sample.trajectory.sampleIndex] = sample
    arrivals?.append(sample)
  }

  /// Takes accepted samples away that are of no use.
  ///
  /// - Returns: which ones, ascending: they are to be sampled again.
  mutating func removeSamples(where isUseless: (CollectedTrajectory, PromptGroup) -> Bool) -> [SampleKey] {
    var removed: [SampleKey] = []
    for ordinal in samples.keys.sorted() {
      guard let group = groups[ordinal], let collected = samples[ordinal] else { continue }
      for index in collected.keys.sorted() where isUseless(collected[index]!, group) {
        samples[ordinal]![index] = nil
        removed.append(SampleKey(groupOrdinal: ordinal, sampleIndex: index))
      }
    }
    return removed
  }

  /// A group has all samples that it will get.
  mutating func complete(_ ordinal: Int, now: Duration) {
    guard groups[ordinal] != nil, !completed.contains(ordinal) else { return }
    completed.append(ordinal)
    completedAt[ordinal] = now
  }

  /// Samples were taken away: groups that are not complete any longer are not handed out.
  mutating func reopenGroups(unless isComplete: (_ ordinal: Int) -> Bool) { completed.removeAll { !isComplete($0) } }

  /// Nobody wants a group any longer.
  mutating func forget(_ ordinal: Int) {
    groups[ordinal] = nil
    samples[ordinal] = nil
    firstGranted[ordinal] = nil
  }

  /// Hands out the completed group with the smallest ordinal, when that is below `bound`; those that were put back come first.
  mutating func takeCompleted(below bound: Int = .max) -> CompletedGroup? {
    if let index = putBack.firstIndex(where: { $0.ordinal < bound }) { return putBack.remove(at: index) }
    guard let ordinal = completed.min(), ordinal < bound, let collected = samples.removeValue(forKey: ordinal) else {
      return nil
    }
    completed.removeAll { $0 == ordinal }
    groups[ordinal] = nil
    return CompletedGroup(
      ordinal: ordinal, samples: collected.sorted { $0.key < $1.key }.map(\.value),
      firstGranted: firstGranted.removeValue(forKey: ordinal), completed: completedAt.removeValue(forKey: ordinal))
  }

  /// Takes groups back that were handed out, unchanged: they are the next ones.
  mutating func putBack(_ groups: [CompletedGroup]) { putBack += groups }

  /// Samples that were accepted since the last call, in the order in which they came. The first call returns none: from then on
  /// they are kept.
  mutating func takeArrivals() -> [CollectedTrajectory] {
    defer { arrivals = [] }
    return arrivals ?? []
  }
}
