import Parameters

/// (R - mean) / (std + epsilon) in the group, unbiased std (DeepSeekMath, arXiv 2402.03300).
public struct GRPO: AdvantageEstimator {
  public static let name = "grpo"
  public static let summary = "(R - mean) / (std + epsilon) in the group (2402.03300)"
  public static let parameters: [Parameter] = [
    .number("advantage_epsilon", 1e-6, .between(0, 1), "Added to a group's standard deviation.")
  ]

  public var epsilon: Double

  public init(_ values: ParameterValues) { epsilon = values.number("advantage_epsilon") }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try groupRelative(step) { count, squares in 1 / ((squares / (count - 1)).squareRoot() + epsilon) }
  }
}
