import Parameters

/// GPG (arXiv 2504.02546): A = alpha (R - mean of the group) / gpg_norm, alpha = trajectories of the step / those whose
/// reward is not 0, which makes up for trajectories that carry no signal. A group of one keeps its reward, times alpha.
public struct GPGAdvantage: AdvantageEstimator {
  public static let name = "gpg"
  public static let summary = "R - mean in the group, scaled up by the share of rewards that are not 0 (2504.02546)"
  public static let parameters: [Parameter] = [.number("gpg_norm", 1, .above(0), "Divides the advantages.")]

  public var norm: Double

  public init(_ values: ParameterValues) { norm = values.number("gpg_norm") }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    let informative = step.trajectories.count { $0.reward != 0 }
    let alpha = Double(step.trajectories.count) / Double(max(informative, 1))
    return try step.centredRewards().map { Credit(of: alpha * $0 / norm) }
  }
}
