import Parameters

/// Decoupled PPO's weight for the age of a sample (Hilton et al. 2110.00641; AReaL 2505.24298): w = pi_prox /
/// pi_behaviour, a constant of the gradient that multiplies the loss of an objective whose ratio refers to pi_prox, the
/// learner's policy at the start of the step.
///
/// `clamp` bounds w to [lower, cap]; `mask` makes it 0 outside, the slot staying in the denominator. With a dual clip,
/// c|A| bounds the loss before the weight multiplies it.
///
/// Soft tokens: a ratio of densities; nothing changes.
///
/// In a run the cap is `learner.behaviour_weight_cap`; trajectories of another arithmetic at equal weights are weighted alike.
public struct DecoupledCorrection: Correction {
  public static let name = "decoupled"
  public static let summary =
    "clips around the policy at the step's start, weights by pi_start / pi_behaviour (2110.00641)"
  public static let parameters: [Parameter] = [
    .choice(
      "decoupled_level", "token", of: [ImportanceLevel.token.rawValue, ImportanceLevel.geometricMean.rawValue],
      "What one weight belongs to: a slot, or a trajectory with the geometric mean of its slots."),
    .choice(
      "decoupled_action", "clamp", of: Action.allCases.map(\.rawValue), "What is done with a weight out of range."),
    .optionalNumber("decoupled_lower", nil, .above(0), "Smallest weight; null: none."),
  ]

  public enum Action: String, Sendable, Codable, CaseIterable { case clamp, mask }

  /// `token`, or `geometric_mean`: one weight a trajectory.
  public var level: ImportanceLevel
  public var action: Action
  /// Nil: no lower bound.
  public var lower: Double?
  public var cap: Double

  public init(level: ImportanceLevel = .token, action: Action = .clamp, lower: Double? = nil, cap: Double = 5) {
    self.level = level
    self.action = action
    self.lower = lower
    self.cap = cap
  }

  public init(_ values: ParameterValues) {
    self.init(
      level: ImportanceLevel(rawValue: values.text("decoupled_level")) ?? .token,
      action: Action(rawValue: values.text("decoupled_action")) ?? .clamp,
      lower: values.optionalNumber("decoupled_lower"))
  }

  public var isDecoupled: Bool { true }

  public func slotCap(_ caps: CorrectionCaps) -> SlotCap? {
    level == .token && action == .clamp && lower == nil
      ? SlotCap(importance: caps.behaviour, behaviour: caps.behaviour) : nil
  }

  public func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) throws -> [CorrectionFactors] {
    var own = self
    own.cap = caps.behaviour
    return try trajectories.map {
      CorrectionFactors(
        weights: try own.weights(proximalLogProbs: $0.logProbs, behaviourLogProbs: $0.workerLogProbs).map { Float($0) })
    }
  }

  /// The slots' factors of one trajectory.
  public func weights(proximalLogProbs: [Float], behaviourLogProbs: [Float]) throws -> [Double] {
    let logRatios = try importanceLogRatios(proximalLogProbs, over: behaviourLogProbs, level: level)
    if level == .token && action == .clamp {
      // The weights that runs have under `decoupled_clipping`.
      return zip(proximalLogProbs, behaviourLogProbs).map { proximal, behaviour in
        let weight = truncatedImportanceWeight(
          learnerOldLogProb: proximal, workerLogProb: behaviour, cap: Float(cap))
        return Double(weight.isNaN ? weight : max(weight, Float(lower ?? 0)))
      }
    }
    return logRatios.map { logRatio in
      let weight = doubleExponential(logRatio)
      switch action {
      case .clamp: return min(lower.map { max(weight, $0) } ?? weight, cap)
      case .mask: return weight > cap || (lower.map { weight < $0 } ?? false) ? 0 : weight
      }
    }
  }
}
