import Parameters

/// Positive, negative or weighted sample reinforcement (arXiv 2506.01347), for rewards of 0 and 1: `positive`: A = R
/// and only correct trajectories are kept; `negative`: A = R - 1 and only incorrect ones are; `weighted`: A =
/// psr_weight R where R is 1, R - 1 where it is 0, and all are kept.
public struct PSRNSR: AdvantageEstimator {
  public enum Mode: String, Sendable, CaseIterable { case positive, negative, weighted }

  public static let name = "psr_nsr"
  public static let summary = "Reinforces correct samples, incorrect ones, or both with a weight (2506.01347)"
  public static let parameters: [Parameter] = [
    .choice(
      "psr_mode", "weighted", of: Mode.allCases.map(\.rawValue),
      "Which samples are trained on: `positive`, `negative` or both, the positive ones with a weight (`weighted`)."),
    .number("psr_weight", 0.1, .atLeast(0), "Advantage of a correct sample in the mode `weighted`."),
  ]

  public var mode: Mode
  public var positiveWeight: Double

  public init(_ values: ParameterValues) {
    mode = Mode(rawValue: values.text("psr_mode")) ?? .weighted
    positiveWeight = values.number("psr_weight")
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { _, rewards in
      try rewards.map { reward in
        guard reward == 0 || reward == 1 else {
          throw CreditError("advantage psr_nsr is defined for rewards of 0 and 1, and one is \(reward)")
        }
        switch mode {
        case .positive: return Credit([Float(reward)], isKept: reward == 1)
        case .negative: return Credit([Float(reward - 1)], isKept: reward == 0)
        case .weighted: return Credit(of: reward == 1 ? positiveWeight : reward - 1)
        }
      }
    }
  }
}
