import Parameters

/// OPO (arXiv 2505.23585): R - sum(length R) / sum(length) in the group, the baseline of least gradient variance when
/// the norm of a trajectory's score grows with its length. A group of one keeps its reward.
///
/// Soft tokens: a length is a number of scored steps, soft and discrete alike.
public struct OPO: AdvantageEstimator {
  public static let name = "opo"
  public static let summary = "R - the length-weighted mean in the group (2505.23585)"
  public static let parameters: [Parameter] = []

  public init(_ values: ParameterValues) {}

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { members, rewards in
      guard members.count > 1 else { return rewards.map { Credit(of: $0) } }
      let lengths = members.map { Double(step.trajectories[$0].length) }
      let total = lengths.reduce(0, +)
      let baseline = total > 0 ? zip(lengths, rewards).reduce(0.0) { $0 + $1.0 * $1.1 } / total : 0
      return rewards.map { Credit(of: $0 - baseline) }
    }
  }
}
