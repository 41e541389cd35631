/// A session's identity, unique within a learner process.
public struct WorkerID: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let value: UInt64

  public init(_ value: UInt64) { self.value = value }

  public static func < (left: Self, right: Self) -> Bool { left.value < right.value }
  public var description: String { String(value) }
}

/// One sample of one group: what is accounted for exactly once.
public struct SampleKey: Sendable, Hashable {
  public var groupOrdinal: Int
  public var sampleIndex: Int

  public init(groupOrdinal: Int, sampleIndex: Int) {
    self.groupOrdinal = groupOrdinal
    self.sampleIndex = sampleIndex
  }
}

/// Samples of one group lent to one worker.
public struct LeaseRecord: Sendable, Equatable {
  public var id: UInt64
  public var groupOrdinal: Int
  /// Ascending; samples leave it as they are settled.
  public var sampleIndices: [Int]
  public var worker: WorkerID
  public var policyVersions: ClosedRange<Int>
  public var granted: Duration
  public var expires: Duration
  /// No renewal reaches beyond this.
  public var ends: Duration
  /// Workers that were lost with these samples before.
  public var losses = 0
  /// A second lease of samples that another worker holds too.
  public var isHedge = false
}

/// A sample that another worker has finished: the lease's holder should stop working on it.
public struct SupersededSample: Sendable, Equatable {
  public var worker: WorkerID
  public var leaseID: UInt64
  public var sampleIndex: Int
  /// Nothing is left of the lease.
  public var endsLease: Bool
}

/// What became of a result.
public enum ResultVerdict: Sendable, Equatable {
  case accepted
  case duplicate
  case stale
  case unknown
}
