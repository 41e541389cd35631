/// GRAO (arXiv 2508.07750): imitation of a reference answer y beside the group's own trajectories o_i, X the mean
/// log-prob of one:
///
///     J = 1/G sum_i [A_i X(o_i) + beta A_y X(y) + lambda A_i (X(o_i) - X(y))],  loss = -J, the mean over groups
///
/// A function, not an objective that can be trained with: it needs the reference answer scored by the learner as one
/// more trajectory of each group, with an advantage of its own, and runs do not have one. The answer was not sampled:
/// it is scored as discrete tokens, whose log-probs have another scale than the densities of soft steps.
public enum GRAO {
  /// A trajectory or a reference answer.
  public struct Member: Sendable {
    public var logProbs: [Double]
    public var advantage: Double

    public init(logProbs: [Double], advantage: Double) {
      self.logProbs = logProbs
      self.advantage = advantage
    }

    var mean: Double { logProbs.reduce(0, +) / Double(max(logProbs.count, 1)) }
  }

  public struct Group: Sendable {
    public var trajectories: [Member]
    public var referenceAnswer: Member

    public init(trajectories: [Member], referenceAnswer: Member) {
      self.trajectories = trajectories
      self.referenceAnswer = referenceAnswer
    }
  }

  /// Loss and its derivatives with respect to every log-prob: of each group's trajectories, and of its reference
  /// answer.
  ///
  /// - Parameters:
  ///   - beta: weight of imitation; the paper has 0.5.
  ///   - lambda: weight of alignment; the paper has 0.6.
  public static func loss(
    _ groups: [Group], beta: Double, lambda: Double
  ) -> (loss: Double, gradient: [[[Double]]], referenceGradient: [[Double]]) {
    var (loss, gradient, referenceGradient): (Double, [[[Double]]], [[Double]]) = (0, [], [])
    for group in groups where !group.trajectories.isEmpty {
      let share = 1 / (Double(group.trajectories.count) * Double(groups.count))
      let answer = group.referenceAnswer
      var (own, answerSlope): ([[Double]], Double) = ([], 0)
      for member in group.trajectories {
        loss -=
          share
          * (member.advantage * member.mean + beta * answer.advantage * answer.mean
            + lambda * member.advantage * (member.mean - answer.mean))
        let slope = -share * member.advantage * (1 + lambda) / Double(max(member.logProbs.count, 1))
        own.append([Double](repeating: slope, count: member.logProbs.count))
        answerSlope -= share * (beta * answer.advantage - lambda * member.advantage)
      }
      gradient.append(own)
      let count = answer.logProbs.count
      referenceGradient.append([Double](repeating: answerSlope / Double(max(count, 1)), count: count))
    }
    return (loss, gradient, referenceGradient)
  }
}
