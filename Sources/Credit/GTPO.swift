import Parameters

/// GTPO (arXiv 2508.03772): A = R - mean; steps that a trajectory of positive and one of negative advantage share are
/// not pushed in both directions; uncertain trajectories are left out and entropy shapes the rest.
///
/// A step is in conflict when a trajectory of the other sign has the same token at the same position, counted from the
/// start in the leading run of such steps, or counted from the end in the trailing run. Its weight lambda is
/// `gtpo_positive_weight` where A > 0 and `gtpo_negative_weight` where A < 0, multiplied by itself in both runs, 1
/// elsewhere. A' = A - gtpo_entropy_coefficient <H>, and 0 where the mean entropy <H> exceeds `gtpo_entropy_threshold`.
/// Signs are those of A.
///
/// `gtpo_form: released` divides the weights of a trajectory by its number of conflict steps (the longer of its two
/// runs, at least 1), as the authors' code does; `paper` does not, and its threshold is ln 2.
///
/// Soft tokens: two mixtures are never equal; a step is identified by the token it emits. <H> is the categorical
/// entropy.
public struct GTPO: AdvantageEstimator {
  public static let name = "gtpo"
  public static let summary =
    "Weights for tokens that good and bad trajectories share, entropy filter and shaping (2508.03772)"
  public static let parameters: [Parameter] = [
    .number("gtpo_positive_weight", 2, .atLeast(0), "Weight of a conflict step where the advantage is positive."),
    .number("gtpo_negative_weight", 0, .atLeast(0), "Weight of a conflict step where the advantage is negative."),
    .number("gtpo_entropy_coefficient", 0.1, .atLeast(0), "The mean entropy times this is taken off an advantage."),
    .number(
      "gtpo_entropy_threshold", 0.7, .atLeast(0), "Trajectories of higher mean entropy have no gradient.", unit: "nats"),
    .choice("gtpo_form", "released", of: ["released", "paper"], "As in the authors' code, or as in the paper."),
  ]

  /// What a group's trajectory comes to.
  public struct Analysis: Sendable, Equatable {
    public var advantage: Double
    /// lambda of each step.
    public var conflictWeights: [Double]
    /// The longer run, at least 1; 0 of a trajectory without an advantage.
    public var conflictTokens: Int
    public var meanEntropy: Double
    public var isKept: Bool
    /// A'.
    public var shapedAdvantage: Double
  }

  public var positiveWeight: Double
  public var negativeWeight: Double
  public var entropyCoefficient: Double
  public var entropyThreshold: Double
  public var isReleasedForm: Bool

  public init(_ values: ParameterValues) {
    positiveWeight = values.number("gtpo_positive_weight")
    negativeWeight = values.number("gtpo_negative_weight")
    entropyCoefficient = values.number("gtpo_entropy_coefficient")
    entropyThreshold = values.number("gtpo_entropy_threshold")
    isReleasedForm = values.text("gtpo_form") == "released"
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { members, rewards in
      try analyse(
        rewards: rewards, tokenIDs: members.map { step.trajectories[$0].tokenIDs },
        entropy: members.map { step.trajectories[$0].entropy.map(Double.init) }
      ).map { own in
        let divisor = isReleasedForm ? Double(max(own.conflictTokens, 1)) : 1
        return Credit([Float(own.shapedAdvantage)], stepWeights: own.conflictWeights.map { Float($0 / divisor) })
      }
    }
  }

  /// - Parameters:
  ///   - tokenIDs: of each member, one a scored step.
  ///   - entropy: parallel, in nats.
  /// - Throws: `CreditError` when tokens or entropies are missing.
  public func analyse(rewards: [Double], tokenIDs: [[Int32]], entropy: [[Double]]) throws -> [Analysis] {
    guard tokenIDs.count == rewards.count, zip(tokenIDs, entropy).allSatisfy({ $0.count == $1.count && !$0.isEmpty })
    else { throw CreditError("advantage gtpo needs the token and the entropy of every scored step") }
    let mean = Statistics(rewards).mean
    let advantages = rewards.map { $0 - mean }
    let threshold = isReleasedForm ? entropyThreshold : 0.693_147_180_559_945_3
    return tokenIDs.indices.map { index in
      let (advantage, own) = (advantages[index], tokenIDs[index])
      let rivals = tokenIDs.indices.filter { advantages[$0] * advantage < 0 }.map { tokenIDs[$0] }
      let leading = run(own, rivals)
      let trailing = run(own.reversed(), rivals.map { $0.reversed() })
      let factor = advantage > 0 ? positiveWeight : negativeWeight
      var weights = [Double](repeating: 1, count: own.count)
      for place in 0..<leading { weights[place] *= factor }
      for place in 0..<trailing { weights[own.count - 1 - place] *= factor }
      let meanEntropy = Statistics(entropy[index]).mean
      let isKept = meanEntropy <= threshold
      return Analysis(
        advantage: advantage, conflictWeights: weights,
        conflictTokens: advantage == 0 ? 0 : max(leading, trailing, 1), meanEntropy: meanEntropy, isKept: isKept,
        shapedAdvantage: isKept ? advantage - entropyCoefficient * meanEntropy : 0)
    }
  }

  /// Length of the leading run of tokens that a rival has at the same place.
  private func run(_ own: [Int32], _ rivals: [[Int32]]) -> Int {
    own.indices.first { place in !rivals.contains { place < $0.count && $0[place] == own[place] } } ?? own.count
  }
}
