/// Decoupled PPO's weight for the age of a sample (Hilton et al. 2110.00641; AReaL 2505.24298): w = pi_prox /
/// pi_behaviour, a constant of the gradient that multiplies the loss of an objective whose ratio refers to pi_prox, the
/// learner's policy at the start of the step.
///
/// `clamp` bounds w to [lower, cap]; `mask` makes it 0 outside, the slot staying in the denominator. With a dual clip,
/// c|A| bounds the loss before the weight multiplies it.
///
/// Soft tokens: a ratio of densities; nothing changes.
public struct DecoupledCorrection: Sendable {
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
