/// What is minimised: the settings of the loss (DESIGN 1.2), one field per config key of the `learner` section.
public struct ObjectiveOptions: Sendable, Equatable, Hashable, Codable {
  /// `advantage`
  public var advantage: AdvantageEstimator
  /// `clip_low`, `clip_high`, `dual_clip`
  public var clip: ClippedObjective
  /// `kl_coefficient`: beta; 0 needs no reference model.
  public var klCoefficient: Double
  /// `kl_estimator`
  public var klEstimator: KLEstimator
  /// `loss_aggregation`
  public var lossAggregation: LossAggregation
  /// `decoupled_clipping`, `behaviour_weight_cap`: for trajectories of older versions.
  public var offPolicy: OffPolicyCorrection

  public init(
    advantage: AdvantageEstimator = .grpo, clip: ClippedObjective = ClippedObjective(), klCoefficient: Double = 0.001,
    klEstimator: KLEstimator = .k3, lossAggregation: LossAggregation = .tokenMean,
    offPolicy: OffPolicyCorrection = .behaviour
  ) {
    self.advantage = advantage
    self.clip = clip
    self.klCoefficient = klCoefficient
    self.klEstimator = klEstimator
    self.lossAggregation = lossAggregation
    self.offPolicy = offPolicy
  }

  /// - Parameter section: prefix of the keys in messages.
  /// - Throws: `OptimizationError` naming the first key whose value is out of range.
  public func validate(section: String = "learner") throws {
    let check = RangeCheck(section: section)
    try check("clip_low", Double(clip.clipLow), "in (0, 1)") { $0 > 0 && $0 < 1 }
    try check("clip_high", Double(clip.clipHigh), "positive") { $0 > 0 }
    if let dualClip = clip.dualClip { try check("dual_clip", Double(dualClip), "above 1") { $0 > 1 } }
    try check("kl_coefficient", klCoefficient, "at least 0") { $0 >= 0 }
    if case .decoupled(let cap) = offPolicy {
      try check("behaviour_weight_cap", Double(cap), "at least 1") { $0 >= 1 }
    }
  }
}

/// Range checks that name the config key and quote the value.
struct RangeCheck {
  var section: String

  func callAsFunction(_ key: String, _ value: Double, _ requirement: String, _ holds: (Double) -> Bool) throws {
    guard value.isFinite, holds(value) else { throw failure(key, requirement, Self.text(value)) }
  }

  func callAsFunction(_ key: String, _ value: Int, _ requirement: String, _ holds: (Int) -> Bool) throws {
    guard holds(value) else { throw failure(key, requirement, String(value)) }
  }

  private func failure(_ key: String, _ requirement: String, _ value: String) -> OptimizationError {
    OptimizationError("\(section.isEmpty ? "" : section + ".")\(key): must be \(requirement), got \(value)")
  }

  /// 2 rather than 2.0: what the user wrote.
  private static func text(_ value: Double) -> String {
    if let integer = Int(exactly: value), abs(integer) < 1_000_000 { return String(integer) }
    return String(value)
  }
}
