/// Masked importance sampling (TRL's `vllm_importance_sampling`): the weight pi_learner,old / pi_worker, or 0 outside
/// [minimum, maximum]; or clamped to them. Masked slots stay in the loss's denominator. TRL's default is
/// `sequence_mask` with a maximum of 3.
///
/// Soft tokens: as truncated importance sampling; a product of density ratios leaves the range sooner.
public struct MaskedImportance: Sendable {
  public enum Mode: String, Sendable, Codable, CaseIterable {
    case tokenMask = "token_mask"
    case sequenceMask = "sequence_mask"
    case tokenTruncate = "token_truncate"
    case sequenceTruncate = "sequence_truncate"

    var level: ImportanceLevel { self == .tokenMask || self == .tokenTruncate ? .token : .sequence }
    var isMask: Bool { self == .tokenMask || self == .sequenceMask }
  }

  public var mode: Mode
  /// Nil: no lower bound.
  public var minimum: Double?
  public var maximum: Double

  public init(mode: Mode = .sequenceMask, minimum: Double? = nil, maximum: Double = 3) {
    self.mode = mode
    self.minimum = minimum
    self.maximum = maximum
  }

  /// The slots' factors of one trajectory.
  public func weights(learnerOldLogProbs: [Float], workerLogProbs: [Float]) throws -> [Double] {
    try importanceLogRatios(learnerOldLogProbs, over: workerLogProbs, level: mode.level, bound: nil).map { logRatio in
      let ratio = doubleExponential(logRatio)
      let isBelow = minimum.map { ratio < $0 } ?? false
      guard isBelow || ratio > maximum else { return ratio }
      if mode.isMask { return 0 }
      return ratio > maximum ? maximum : minimum ?? ratio
    }
  }
}
