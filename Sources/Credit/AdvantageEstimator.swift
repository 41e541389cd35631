import Parameters

/// How rewards become advantages: a file each.
///
/// An estimator sees all groups of a training step at once and may keep a state over the steps, which a checkpoint holds and a resumed
/// run takes up exactly.
public protocol AdvantageEstimator: Part {
  /// Smallest group that it is defined for.
  static var minimumGroupSize: Int { get }

  /// - Parameter step: the trajectories of a training step, those of a group adjacent.
  /// - Returns: one for each trajectory, in order.
  /// - Throws: `CreditError` when a reward is not finite, or something it needs is missing.
  mutating func advantages(_ step: CreditStep) throws -> [Credit]

  /// What it remembers, as bytes of its own; nil: nothing.
  func encodedState() throws -> [UInt8]?
  /// Takes up what `encodedState` gave.
  ///
  /// - Throws: when the bytes are not a state of this estimator.
  mutating func restore(state: [UInt8]) throws
}

extension AdvantageEstimator {
  public static var minimumGroupSize: Int { 1 }
  public func encodedState() throws -> [UInt8]? { nil }
  public mutating func restore(state: [UInt8]) throws {
    throw CreditError(
      "advantage \(Self.name) keeps no state, but the checkpoint has one: it was made by another estimator")
  }
}

/// What an estimator sees of a training step.
public struct CreditStep: Sendable {
  /// Steps trained before this one.
  public var number: Int
  public var trajectories: [CreditTrajectory]
  /// The weights of `CreditTrajectory.rewards`, parallel; empty: 1 each.
  public var rewardWeights: [Double]

  public init(number: Int = 0, trajectories: [CreditTrajectory], rewardWeights: [Double] = []) {
    self.number = number
    self.trajectories = trajectories
    self.rewardWeights = rewardWeights
  }

  /// Indices of each group's members, groups in the order of their first member.
  ///
  /// - Throws: `CreditError` when a reward is not finite.
  public func groups() throws -> [[Int]] {
    var places: [Int: Int] = [:]
    var groups: [[Int]] = []
    for (index, trajectory) in trajectories.enumerated() {
      guard trajectory.reward.isFinite, trajectory.rewards.allSatisfy(\.isFinite) else {
        throw CreditError(
          "advantages: the reward of trajectory \(index) (group \(trajectory.groupID)) is \(trajectory.reward); "
            + "a reward function must return a finite number")
      }
      if let place = places[trajectory.groupID] {
        groups[place].append(index)
      } else {
        places[trajectory.groupID] = groups.count
        groups.append([index])
      }
    }
    return groups
  }
}

/// What an estimator sees of a trajectory.
public struct CreditTrajectory: Sendable {
  public var groupID: Int
  /// The prompt, over all steps of the run.
  public var promptID: String
  /// The weighted sum of the rewards.
  public var reward: Float
  /// Each reward alone, unweighted, in the order of the configuration.
  public var rewards: [Float]
  /// Scored steps.
  public var length: Int
  /// The budget ended it.
  public var isTruncated: Bool
  /// Per scored step, what a reader sees: the sampled token, or a mixture's emitted one; empty when not known.
  public var tokenIDs: [Int32]
  /// Categorical entropy per scored step, in nats; empty when it was not recorded.
  public var entropy: [Float]
  /// What it answers, as the verifier reads it; nil: no answer was found, or nobody looked for one.
  public var answer: String?
  /// Log-probs of its discrete answer under the policy that sampled, one a token; empty when they are not known.
  public var answerLogProbs: [Float]
  /// Fork path from the prompt to this leaf; empty: it shares nothing.
  public var path: [Int]

  public init(
    groupID: Int, promptID: String = "", reward: Float, rewards: [Float] = [], length: Int = 1,
    isTruncated: Bool = false, tokenIDs: [Int32] = [], entropy: [Float] = [],
    answer: String? = nil, answerLogProbs: [Float] = [], path: [Int] = []
  ) {
    self.groupID = groupID
    self.promptID = promptID
    self.reward = reward
    self.rewards = rewards
    self.length = length
    self.isTruncated = isTruncated
    self.tokenIDs = tokenIDs
    self.entropy = entropy
    self.answer = answer
    self.answerLogProbs = answerLogProbs
    self.path = path
  }
}

/// What an estimator says of a trajectory.
public struct Credit: Sendable, Equatable {
  /// One for the whole trajectory, or one a scored step.
  public var advantages: [Float]
  /// Constants that multiply the losses of its scored steps, as masks and token weights; nil: 1.
  public var stepWeights: [Float]?
  /// A trajectory that is left out has no gradient, and does not count in the loss's denominator.
  public var isKept: Bool

  public init(_ advantages: [Float], stepWeights: [Float]? = nil, isKept: Bool = true) {
    self.advantages = advantages
    self.stepWeights = stepWeights
    self.isKept = isKept
  }

  public init(_ advantage: Float) { self.init([advantage]) }

  public var isZero: Bool { advantages.allSatisfy { $0 == 0 } }
}

public struct CreditError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}
