import Parameters

/// What is done about trajectories whose sampler was not the learner's policy of today in the learner's arithmetic: a file each.
///
/// It sees the log-probs of the learner at the start of the training step and those that the worker recorded, and gives factors:
/// constants that multiply the slots' losses, and steps that leave the loss altogether. Trajectories whose log-probs the learner
/// takes as its own have both alike.
public protocol Correction: Part {
  /// Whether the ratio of an older trajectory refers to the learner's policy at the start of the step, not to the one that sampled.
  var isDecoupled: Bool { get }
  /// Its factor of a slot is min(pi_start / pi_worker, cap) and nothing more, which the gradient's own pass forms without another
  /// one before it. nil: `factors` is asked.
  func slotCap(_ caps: CorrectionCaps) -> SlotCap?
  /// - Parameter trajectories: of one optimiser step.
  /// - Returns: parallel to them.
  func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) throws -> [CorrectionFactors]
}

extension Correction {
  public var isDecoupled: Bool { false }
  public func slotCap(_ caps: CorrectionCaps) -> SlotCap? { nil }
}

/// The caps that the configuration has had from the first (`learner.importance_cap`, `learner.behaviour_weight_cap`).
public struct CorrectionCaps: Sendable, Equatable {
  /// Of weights for another arithmetic at equal weights; nil: no correction.
  public var importance: Double?
  /// Of weights for the age of a policy.
  public var behaviour: Double

  public init(importance: Double? = 2, behaviour: Double = 5) {
    self.importance = importance
    self.behaviour = behaviour
  }
}

/// Caps of a slot's weight that the pass applies by itself; nil: 1 is its weight.
public struct SlotCap: Sendable, Equatable {
  public var importance: Double?
  /// Only where the ratio is decoupled.
  public var behaviour: Double?

  public init(importance: Double? = nil, behaviour: Double? = nil) {
    self.importance = importance
    self.behaviour = behaviour
  }
}

/// What a correction sees; lists are one number a slot.
public struct CorrectedTrajectory: Sendable {
  /// Under the learner's policy at the start of the training step.
  public var logProbs: [Float]
  /// As recorded at sampling.
  public var workerLogProbs: [Float]
  /// Mean over its steps.
  public var advantage: Double
  /// Whether an older version sampled it.
  public var isOlder: Bool

  public init(logProbs: [Float], workerLogProbs: [Float], advantage: Double, isOlder: Bool) {
    self.logProbs = logProbs
    self.workerLogProbs = workerLogProbs
    self.advantage = advantage
    self.isOlder = isOlder
  }
}

public struct CorrectionFactors: Sendable, Equatable {
  /// One a slot; nil: 1.
  public var weights: [Float]?
  /// Slots that stay in the loss and in its denominator; nil: all.
  public var kept: [Bool]?

  public init(weights: [Float]? = nil, kept: [Bool]? = nil) {
    self.weights = weights
    self.kept = kept
  }
}

/// The corrections of this build: adding one is a line here. The first one is the default.
public let corrections = PartRegistry<any Correction>(
  "correction",
  ([
    TruncatedImportance.self,
    NoCorrection.self,
    MaskedImportance.self,
    Rejection.self,
    OffPolicySequenceMask.self,
    DecoupledCorrection.self,
  ] as [any Correction.Type]).map { type in
    .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
  })

/// Nothing is done.
public struct NoCorrection: Correction {
  public static let name = "none"
  public static let summary = "no correction"
  public static let parameters: [Parameter] = []

  public init(_ values: ParameterValues) {}

  public func slotCap(_ caps: CorrectionCaps) -> SlotCap? { SlotCap() }
  public func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) -> [CorrectionFactors] {
    trajectories.map { _ in CorrectionFactors() }
  }
}
