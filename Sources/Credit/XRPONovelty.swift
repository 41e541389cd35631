import Parameters

/// XRPO's novelty bonus (arXiv 2510.06672) on the group's normalised advantages (`NoveltyBonus`), by the log-probs of the
/// discrete answer: the expected log-density of a soft step is the same whatever the thought, so that its novelty is noise.
public struct XRPONovelty: AdvantageEstimator {
  public static let name = "xrpo_novelty"
  public static let summary = "As grpo, and a bonus for correct answers that are improbable in their group (2510.06672)"
  public static let parameters: [Parameter] = [
    .number("novelty_lambda", 1, .atLeast(0), "Weight of an answer's novelty, 1 - exp(s - mean s)."),
    .number("novelty_kappa", 0.5, .atLeast(0), "A bonus is at most this share of the advantage."),
    .number("advantage_epsilon", 1e-6, .between(0, 1), "Added to a group's standard deviation."),
  ]

  public var bonus: NoveltyBonus

  public init(_ values: ParameterValues) {
    bonus = NoveltyBonus(
      lambda: values.number("novelty_lambda"), kappa: values.number("novelty_kappa"),
      epsilon: values.number("advantage_epsilon"))
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try step.byGroup { members, rewards in
      try bonus.advantages(
        rewards: rewards, logProbs: members.map { step.trajectories[$0].answerLogProbs.map(Double.init) }
      ).map { Credit(of: $0) }
    }
  }
}
