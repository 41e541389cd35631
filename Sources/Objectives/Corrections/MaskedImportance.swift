import Parameters

/// Masked importance sampling (TRL's `vllm_importance_sampling`): the weight pi_learner,old / pi_worker, or 0 outside
/// [minimum, maximum]; or clamped to them. Masked slots stay in the loss's denominator. TRL's default is
/// `sequence_mask` with a maximum of 3.
///
/// Soft tokens: as truncated importance sampling; a product of density ratios leaves the range sooner.
///
/// In a run the weights are those of trajectories whose old log-probs are the learner's, as with `truncated_importance`.
public struct MaskedImportance: Correction {
  public static let name = "masked_importance"
  public static let summary = "pi_learner / pi_worker, 0 or clamped outside a range (MIS, TRL)"
  public static let parameters: [Parameter] = [
    .choice(
      "mask_mode", "sequence_mask", of: Mode.allCases.map(\.rawValue),
      "What the range holds for, and whether a ratio outside is masked or clamped."),
    .optionalNumber("mask_minimum", nil, .above(0), "Smallest ratio; null: none."),
    .number("mask_maximum", 3, .above(0), "Largest ratio."),
  ]

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

  public init(_ values: ParameterValues) throws {
    self.init(
      mode: Mode(rawValue: values.text("mask_mode")) ?? .sequenceMask, minimum: values.optionalNumber("mask_minimum"),
      maximum: values.number("mask_maximum"))
    if let minimum, minimum > maximum {
      throw ParameterError("mask_minimum: must be at most mask_maximum = \(maximum), got \(minimum)")
    }
  }

  public func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) throws -> [CorrectionFactors] {
    try trajectories.map {
      $0.isOlder
        ? CorrectionFactors()
        : CorrectionFactors(
          weights: try weights(learnerOldLogProbs: $0.logProbs, workerLogProbs: $0.workerLogProbs).map { Float($0) })
    }
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
