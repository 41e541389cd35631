import Parameters
import Thinking
import Trajectories

/// Part or all of a prompt's group, lent to a worker.
public struct Lease: Sendable, Equatable {
  /// Never 0.
  public var id: UInt64
  /// Names the group for ever; part of the noise counter.
  public var groupOrdinal: Int
  public var promptID: String
  public var prompt: [Int32]
  /// Strictly ascending.
  public var sampleIndices: [Int]
  public var policy: PartDescription
  public var plan: CompletionPlan
  /// What of the lease this build cannot interpret; not nil: it must be given back. Only in what a peer has sent.
  public var unknown: String?
  public var noiseSeed: UInt64
  /// Versions that may sample it.
  public var policyVersions: ClosedRange<Int>
  public var deadlineMilliseconds: Int
  /// A sample under way goes on under a new version as soon as the worker holds it.
  public var continuesAcrossVersions: Bool

  public init(
    id: UInt64, groupOrdinal: Int, promptID: String, prompt: [Int32], sampleIndices: [Int], policy: PartDescription,
    plan: CompletionPlan, noiseSeed: UInt64, policyVersions: ClosedRange<Int>, deadlineMilliseconds: Int,
    continuesAcrossVersions: Bool = false
  ) {
    self.id = id
    self.groupOrdinal = groupOrdinal
    self.promptID = promptID
    self.prompt = prompt
    self.sampleIndices = sampleIndices
    self.policy = policy
    self.plan = plan
    self.noiseSeed = noiseSeed
    self.policyVersions = policyVersions
    self.deadlineMilliseconds = deadlineMilliseconds
    self.continuesAcrossVersions = continuesAcrossVersions
  }
}

/// One finished sample. What the learner knows already (prompt, policy) does not travel back.
public struct TrajectoryResult: Sendable, Equatable {
  public var leaseID: UInt64
  public var groupOrdinal: Int
  public var sampleIndex: Int
  /// The oldest version that drew a step.
  public var policyVersion: Int
  /// As in `Trajectory`: empty when one version drew everything.
  public var versionSpans: [VersionSpan]
  public var segments: [Segment]
  public var finishReason: FinishReason
  public var elapsedMicroseconds: Int
  /// Of a sample that came through a relay; `nil`: the session's own worker drew it.
  public var origin: SampleOrigin?

  public init(
    leaseID: UInt64, groupOrdinal: Int, sampleIndex: Int, policyVersion: Int, segments: [Segment],
    finishReason: FinishReason, elapsedMicroseconds: Int = 0, versionSpans: [VersionSpan] = [],
    origin: SampleOrigin? = nil
  ) {
    self.leaseID = leaseID
    self.groupOrdinal = groupOrdinal
    self.sampleIndex = sampleIndex
    self.policyVersion = policyVersion
    self.segments = segments
    self.finishReason = finishReason
    self.elapsedMicroseconds = elapsedMicroseconds
    self.versionSpans = versionSpans
    self.origin = origin
  }
}

/// Who drew a sample that came through a relay.
public struct SampleOrigin: Sendable, Equatable {
  public var workerName: String
  /// Equal fingerprints promise equal bits.
  public var fingerprint: String

  public init(workerName: String, fingerprint: String) {
    self.workerName = workerName
    self.fingerprint = fingerprint
  }
}

/// Samples of a lease that the worker does not finish (worker to learner): a relay whose workers left, or a worker whose build
/// does not know the lease's plan.
public struct ReturnedWork: Sendable, Equatable {
  public var leaseID: UInt64
  /// Strictly ascending; at least one.
  public var sampleIndices: [Int]
  /// Workers were lost with these samples.
  public var isLoss: Bool
  /// Why the sender cannot sample them at all; empty: it could.
  public var reason: String

  public init(leaseID: UInt64, sampleIndices: [Int], isLoss: Bool = false, reason: String = "") {
    self.leaseID = leaseID
    self.sampleIndices = sampleIndices
    self.isLoss = isLoss
    self.reason = reason
  }
}

public struct ResultAcknowledgement: Sendable, Equatable {
  public enum Verdict: Sendable, Equatable, CaseIterable {
    /// Will be trained on.
    case accepted
    /// Another copy of this sample was accepted before.
    case duplicate
    /// Sampled by a policy that is too old; the sample went back to the queue.
    case stale
    /// No such work in this run.
    case unknown
  }

  public var leaseID: UInt64
  public var sampleIndex: Int
  public var verdict: Verdict

  public init(leaseID: UInt64, sampleIndex: Int, verdict: Verdict) {
    self.leaseID = leaseID
    self.sampleIndex = sampleIndex
    self.verdict = verdict
  }
}
