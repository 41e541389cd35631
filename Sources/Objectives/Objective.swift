import Parameters

/// How much of a batch an objective must see before it can say what a step's gradient is.
public enum ObjectiveScope: String, Sendable, Comparable, CaseIterable {
  /// The step's own log-prob: the gradient is formed while the step is scored.
  case step
  /// All log-probs of a trajectory.
  case trajectory
  /// All log-probs of a prompt's group.
  case group
  /// All log-probs of the optimiser step.
  case batch

  private var rank: Int {
    switch self {
    case .step: 0
    case .trajectory: 1
    case .group: 2
    case .batch: 3
    }
  }
  public static func < (left: ObjectiveScope, right: ObjectiveScope) -> Bool { left.rank < right.rank }
}

/// What is minimised over the log-probs of what was sampled: a file each.
///
/// An objective is a function of log-probs, advantages and constants alone: it knows nothing of models, files or workers. It gives
/// the loss and its derivative with respect to each log-prob; training does the rest, on whatever machine. Most need only the step's
/// own log-prob and conform to `StepObjective`.
public protocol Objective: Part {
  static var scope: ObjectiveScope { get }
  /// Streams that it reads of every step.
  var needs: [SideStream] { get }
  /// Whether a trajectory without an advantage has no gradient, so that it need not be computed.
  var ignoresZeroAdvantages: Bool { get }

  /// Loss and coefficients of everything in one scope: one trajectory, one group or one optimiser step.
  ///
  /// - Returns: parallel to `trajectories`; weights and factors are in the coefficients.
  /// - Throws: `ObjectiveError` when the trajectories lack what it needs.
  func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult
}

extension Objective {
  public var needs: [SideStream] { [] }
  public var ignoresZeroAdvantages: Bool { true }
}

/// What an objective sees of one trajectory. A step has one or more scored slots; lists are parallel to the slots of all steps in
/// order, unless they say otherwise.
public struct ObjectiveTrajectory: Sendable {
  /// Under the parameters that are trained.
  public var logProbs: [Float]
  /// Under the policy that the ratio refers to.
  public var oldLogProbs: [Float]
  /// One for the whole trajectory, or one a step.
  public var advantages: [Float]
  /// Of each step in the loss (`LossAggregation.weights`).
  public var weight: Double
  /// Constants that multiply the slots' losses: corrections, masks, token weights; nil: 1.
  public var factors: [Float]?
  /// Slots of each step; nil: one each.
  public var slotCounts: [Int]?
  /// Trajectories of one group have one number.
  public var group: Int
  /// Side streams, one number a step.
  public var streams: [SideStream: [Float]]
  /// The span that a step belongs to, one a step; nil: no spans are known.
  public var spans: [Int]?

  public init(
    logProbs: [Float], oldLogProbs: [Float], advantages: [Float], weight: Double, factors: [Float]? = nil,
    slotCounts: [Int]? = nil, group: Int = 0, streams: [SideStream: [Float]] = [:], spans: [Int]? = nil
  ) {
    self.logProbs = logProbs
    self.oldLogProbs = oldLogProbs
    self.advantages = advantages
    self.weight = weight
    self.factors = factors
    self.slotCounts = slotCounts
    self.group = group
    self.streams = streams
    self.spans = spans
  }

  public var slotCount: Int { logProbs.count }
  public var stepCount: Int { slotCounts?.count ?? logProbs.count }

  /// The step of each slot.
  public var steps: [Int] {
    guard let slotCounts else { return Array(0..<logProbs.count) }
    return slotCounts.enumerated().flatMap { repeatElement($0.offset, count: $0.element) }
  }

  public func advantage(step: Int) -> Float { advantages.count == 1 ? advantages[0] : advantages[step] }

  /// weight times the slot's factor: what its loss is multiplied by.
  public func scale(slot: Int) -> Double { weight * Double(factors?[slot] ?? 1) }

  /// - Throws: `ObjectiveError` when the lists are not parallel.
  public func validate() throws {
    guard oldLogProbs.count == slotCount, factors.map({ $0.count == slotCount }) ?? true,
      slotCounts.map({ $0.reduce(0, +) == slotCount }) ?? true, advantages.count == 1 || advantages.count == stepCount,
      streams.values.allSatisfy({ $0.count == stepCount }), spans.map({ $0.count == stepCount }) ?? true
    else {
      throw ObjectiveError(
        "an objective was given \(slotCount) log-probs, \(oldLogProbs.count) old log-probs, \(advantages.count) advantages and "
          + "\(stepCount) steps that do not fit each other (a trajectory without log_probs cannot be trained on)")
    }
  }
}

/// What random choices of an objective follow from: the same on every machine and after a resumption.
public struct ObjectiveContext: Sendable {
  /// Of the run and its optimiser step.
  public var seed: UInt64
  public init(seed: UInt64 = 0) { self.seed = seed }
}

/// What an objective says of one scope.
public struct ObjectiveResult: Sendable {
  /// d(loss)/d(log-prob) of each slot, parallel to the trajectories' `logProbs`.
  public var coefficients: [[Float]] = []
  /// The weighted loss.
  public var loss = 0.0
  /// What the objective measures of itself.
  public var sums = NamedSums()

  public init() {}
}

/// Lists that do not fit, or something an objective needs and was not given.
public struct ObjectiveError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}
