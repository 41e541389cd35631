/// Low-rank adapters on frozen weights (LoRA, arXiv 2106.09685) in place of training every weight.
public struct LoRASection: Sendable, Equatable {
  /// Projections that can be adapted, by Hugging Face name.
  public enum Target: String, Sendable, CaseIterable {
    case query = "q_proj"
    case key = "k_proj"
    case value = "v_proj"
    case output = "o_proj"
    case gate = "gate_proj"
    case up = "up_proj"
    case down = "down_proj"
  }

  /// Rank of the adapters; 0: every weight is trained.
  public var rank = 0
  /// The adapters' product is scaled by this / `rank`; null: 2 x `rank`.
  public var alpha: Double?
  /// The projections of every layer that have an adapter.
  public var targets = Target.allCases

  public init() {}
}

extension LoRASection {
  func check(_ rules: inout Rules) {
    rules.require(!targets.isEmpty, "lora.targets: must name at least one projection; lora.rank 0 turns LoRA off")
    rules.requireDistinct(targets.map(\.rawValue), "lora.targets")
    rules.require(
      rank > 0 || alpha == nil, "lora.alpha: has no use when lora.rank is 0; remove it, or set a rank")
  }
}

extension LoRASection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("rank", \.rank, 0...1024),
      .optionalNumber("alpha", \.alpha, .above(0, upTo: 1_000_000)),
      .choices("targets", \.targets),
    ]
  }
}
