import Parameters

/// The rewards that this build has.
public enum RewardRegistry {
  /// In the order in which their weighted values are added. A new reward is a line here.
  public static let types: [any RewardFunction.Type] = [
    MathReward.self,
    ExactReward.self,
    FormatReward.self,
    OverlongReward.self,
    SerialExitReward.self,
    GatedLengthReward.self,
    CommandReward.self,
    HTTPReward.self,
    PatternReward.self,
    ChoiceReward.self,
  ]

  public static let parts = PartRegistry<any RewardFunction>(
    "reward",
    types.map { type in
      .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
    })

  /// Names of the rewards that count in pass@k.
  public static var correctness: [String] { types.filter { $0.role == .correctness }.map { $0.name } }
}
