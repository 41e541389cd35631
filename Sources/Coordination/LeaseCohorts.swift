/// Groups that will be trained on at the same version, and what is left to do of them.
public struct LeaseCohort: Sendable, Equatable {
  /// The learner's version when it trains on them; `Int.max` when that was not said.
  public var dueVersion: Int
  public var queuedSamples = 0
  public var leasedSamples = 0

  public var unfinishedSamples: Int { queuedSamples + leasedSamples }
}

/// The counts of queued and leased samples, by cohort: they follow the samples' states. Pure.
struct LeaseCohorts: Sendable {
  private var byDue: [Int: LeaseCohort] = [:]

  subscript(dueVersion: Int) -> LeaseCohort? { byDue[dueVersion] }

  /// Those with unfinished samples, the first one due first.
  var unfinished: [LeaseCohort] {
    byDue.values.filter { $0.unfinishedSamples > 0 }.sorted { $0.dueVersion < $1.dueVersion }
  }
  var queuedSampleCount: Int { byDue.values.reduce(0) { $0 + $1.queuedSamples } }
  /// A sample with two holders counts once.
  var leasedSampleCount: Int { byDue.values.reduce(0) { $0 + $1.leasedSamples } }

  mutating func enqueue(_ sampleCount: Int, dueVersion due: Int) {
    byDue[due, default: LeaseCohort(dueVersion: due)].queuedSamples += sampleCount
  }

  /// A sample of a cohort changes its state.
  mutating func change(from old: LeaseTable.SampleState, to new: LeaseTable.SampleState, dueVersion: Int) {
    count(old, -1, dueVersion)
    count(new, 1, dueVersion)
  }

  /// A group is gone: a cohort of which nothing is left goes, too.
  mutating func forgetIfFinished(dueVersion: Int) {
    if byDue[dueVersion]?.unfinishedSamples == 0 { byDue[dueVersion] = nil }
  }

  private mutating func count(_ state: LeaseTable.SampleState, _ change: Int, _ due: Int) {
    switch state {
    case .queued: byDue[due, default: LeaseCohort(dueVersion: due)].queuedSamples += change
    case .leased: byDue[due, default: LeaseCohort(dueVersion: due)].leasedSamples += change
    case .accepted, .setAside: break
    }
  }
}
