import Parameters

/// R - mean in the group, no division by the standard deviation (Dr. GRPO, arXiv 2503.20783).
public struct DrGRPO: AdvantageEstimator {
  public static let name = "dr_grpo"
  public static let summary = "R - mean in the group (2503.20783)"
  public static let parameters: [Parameter] = []

  public init(_ values: ParameterValues) {}

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] { try groupRelative(step) { _, _ in 1 } }
}
