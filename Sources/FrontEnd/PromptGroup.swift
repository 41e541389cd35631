import Thinking
import Trajectories
import Wire

/// A prompt whose completions are to be sampled: the unit of work a trainer submits.
public struct PromptGroup: Sendable, Equatable {
  /// Never reused within a run, resumed runs included; part of the noise counter. Smaller ordinals are sampled first.
  public var ordinal: Int
  public var promptID: String
  public var prompt: [Int32]
  /// Trajectories of the group (G).
  public var sampleCount: Int
  public var policy: ThinkingPolicy
  public var plan: CompletionPlan
  public var noiseSeed: UInt64
  /// The learner's version when it will train on the group: samples come from versions that are fresh enough then. `nil`: they
  /// are judged by the version current when they arrive.
  public var dueVersion: Int?
  /// Samples under way go on under new versions (partial rollouts).
  public var continuesAcrossVersions = false

  public init(
    ordinal: Int, promptID: String, prompt: [Int32], sampleCount: Int, policy: ThinkingPolicy, plan: CompletionPlan,
    noiseSeed: UInt64, dueVersion: Int? = nil
  ) {
    self.ordinal = ordinal
    self.promptID = promptID
    self.prompt = prompt
    self.sampleCount = sampleCount
    self.policy = policy
    self.plan = plan
    self.noiseSeed = noiseSeed
    self.dueVersion = dueVersion
  }
}

/// All trajectories of one group, by sample index. Samples that were set aside are missing.
public struct CompletedGroup: Sendable, Equatable {
  public var ordinal: Int
  public var samples: [CollectedTrajectory]
  /// When its first sample was granted and its last result came, on the monotonic clock.
  public var firstGranted: Duration?
  public var completed: Duration?
}
