import Evaluation
import FrontEnd
import Observability
import Tasks
import Trajectories
import WeightSync

/// Follows a run. Nothing else in the services knows that it is watched: the metrics file, the progress line, text samples and
/// benchmarks are observers.
///
/// Calls come on the learner's thread, one at a time. What an observer throws ends the run, with the newest checkpoint on disk.
public protocol RunObserver: AnyObject {
  /// A step's samples are there and have their rewards; its update comes next.
  func sampled(_ samples: SampledBatch) throws
  /// A step is trained and its version published.
  func stepped(_ step: StepReport) throws
  /// While the learner waits for samples, about twice a second.
  func fleetChanged(_ fleet: FleetReport) throws
  /// A model was evaluated.
  func evaluated(_ evaluation: EvaluationReport) throws
  /// The run has come to its end, or was stopped, after so many steps.
  func ended(after steps: Int)
  /// Why the run should end after the step under way; nil: it should go on. Asked after each step and while samples are waited
  /// for.
  var stop: RunStop? { get }
}

/// The end of a run before its last step. A checkpoint is written first.
public struct RunStop: Sendable, Equatable {
  public var reason: String
  /// Whether the run ends with an error.
  public var isFailure: Bool

  public init(reason: String, isFailure: Bool) {
    self.reason = reason
    self.isFailure = isFailure
  }
}

extension RunObserver {
  public func sampled(_ samples: SampledBatch) throws {}
  public func stepped(_ step: StepReport) throws {}
  public func fleetChanged(_ fleet: FleetReport) throws {}
  public func evaluated(_ evaluation: EvaluationReport) throws {}
  public func ended(after steps: Int) {}
  public var stop: RunStop? { nil }
}

/// The samples of a step, before its update.
public struct SampledBatch: Sendable {
  /// From 1.
  public var step: Int
  /// With their rewards, whole groups adjacent.
  public var trajectories: [Trajectory]
  /// Of the groups, by ordinal.
  public var prompts: [Int: Prompt]
}

/// What a step was.
public struct StepReport: Sendable {
  /// From 1.
  public var step: Int
  public var record: MetricsRecord
  public var trajectories: [Trajectory]
  /// What the rewards saw of each of them.
  public var queries: [RewardQuery] = []
  /// Of each of them: one advantage, or one a scored step.
  public var advantages: [[Float]] = []
  /// Rows of the leaves of each mini-batch's gradient.
  public var leafRows: [[Int]]
  /// Of the version that the step made.
  public var identity: Digest
  /// When the step began, its batch was complete, the update was done and published, on the monotonic clock.
  public var times: (began: Double, collected: Double, updated: Double, published: Double)
}

/// Who samples, and how far a step is.
public struct FleetReport: Sendable {
  /// Steps that are done.
  public var completedSteps: Int
  /// Groups of the current step that are complete, and all of them.
  public var finishedGroups: Int
  public var groups: Int
  public var statistics: FleetStatistics
}

/// An evaluation on held-out prompts.
public struct EvaluationReport: Sendable {
  /// "before" or "after" the run.
  public var label: String
  /// Steps that are done.
  public var completedSteps: Int
  /// One for each thinking policy.
  public var results: [Evaluator.Result]

  public init(label: String, completedSteps: Int, results: [Evaluator.Result]) {
    self.label = label
    self.completedSteps = completedSteps
    self.results = results
  }
}
