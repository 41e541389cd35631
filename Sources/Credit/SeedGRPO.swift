import Parameters

/// SEED-GRPO (arXiv 2505.12346): R - mean shrinks where the group's answers disagree (`SemanticEntropyScaling`).
///
/// Clusters are of equal answers as the verifier reads them, by counts; completions without an answer are one cluster.
public struct SeedGRPO: AdvantageEstimator {
  public static let name = "seed_grpo"
  public static let summary = "R - mean, less where the group's answers disagree (2505.12346)"
  public static let parameters: [Parameter] = [
    .choice(
      "seed_estimator", SemanticEntropyScaling.Estimator.clusterMean.rawValue,
      of: SemanticEntropyScaling.Estimator.allCases.map(\.rawValue),
      "Semantic entropy: the mean over clusters of -log share, as in the paper, or the entropy of the shares."),
    .choice(
      "seed_form", SemanticEntropyScaling.Form.reciprocal.rawValue,
      of: SemanticEntropyScaling.Form.allCases.map(\.rawValue), "How it scales an advantage."),
    .number("seed_alpha", 0.0417, .atLeast(0), "Its weight alpha, relative to log G."),
  ]

  public var scaling: SemanticEntropyScaling

  public init(_ values: ParameterValues) {
    scaling = SemanticEntropyScaling(
      estimator: SemanticEntropyScaling.Estimator(rawValue: values.text("seed_estimator")) ?? .clusterMean,
      form: SemanticEntropyScaling.Form(rawValue: values.text("seed_form")) ?? .reciprocal,
      alpha: values.number("seed_alpha"))
  }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    guard step.trajectories.contains(where: { $0.answer != nil }) else {
      throw CreditError("advantage seed_grpo compares answers, and not one trajectory has an answer that can be read")
    }
    return try step.byGroup { members, rewards in
      try scaling.advantages(rewards: rewards, answers: members.map { step.trajectories[$0].answer ?? "" })
        .map { Credit(of: $0) }
    }
  }
}
