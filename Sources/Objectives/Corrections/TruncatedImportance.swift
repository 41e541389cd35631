import Parameters

/// Truncated importance sampling (Yao et al. 2025; verl's `rollout_is`): min(pi_learner,old / pi_worker, cap), a
/// constant of the gradient that multiplies each slot's loss. There is no lower bound.
///
/// Soft tokens: a ratio of densities is one of probabilities; a sequence weight is a product of many heavy-tailed ones
/// and mostly at its cap or near 0, so `token` is the level to take.
///
/// In a run the cap is `learner.importance_cap`, and the weights are those of trajectories whose old log-probs are the learner's: of
/// an older one the ratio itself refers to the policy that sampled, or to that of the step's start (`decoupled_clipping`).
public struct TruncatedImportance: Correction {
  public static let name = "truncated_importance"
  public static let summary = "min(pi_learner / pi_worker, cap), a constant of the gradient (TIS, Yao et al. 2025)"
  public static let parameters: [Parameter] = [
    .choice(
      "correction_level", "token", of: ImportanceLevel.allCases.map(\.rawValue),
      "What one weight belongs to: a slot, or a trajectory with the product or the geometric mean of its slots."),
    .flag("correction_normalise", false, "Divides the weights of an optimiser step by their mean."),
  ]

  public var level: ImportanceLevel
  public var cap: Double
  /// Whether the weights of an optimiser step are divided by their mean: over slots at token level, over trajectories
  /// above.
  public var normalises: Bool

  public init(level: ImportanceLevel = .token, cap: Double = 2, normalises: Bool = false) {
    self.level = level
    self.cap = cap
    self.normalises = normalises
  }

  public init(_ values: ParameterValues) {
    self.init(
      level: ImportanceLevel(rawValue: values.text("correction_level")) ?? .token,
      normalises: values.flag("correction_normalise"))
  }

  public func slotCap(_ caps: CorrectionCaps) -> SlotCap? {
    level == .token && !normalises || caps.importance == nil ? SlotCap(importance: caps.importance) : nil
  }

  public func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) throws -> [CorrectionFactors] {
    guard let cap = caps.importance else { return trajectories.map { _ in CorrectionFactors() } }
    var own = self
    own.cap = cap
    let result = try own.weights(
      trajectories.map { ($0.logProbs, $0.isOlder ? $0.logProbs : $0.workerLogProbs) })
    return result.weights.map { CorrectionFactors(weights: $0.map { Float($0) }) }
  }

  /// The slots' factors of one trajectory, before they are normalised over the optimiser step.
  public func weights(learnerOldLogProbs: [Float], workerLogProbs: [Float]) throws -> [Double] {
    // One formula with the weights that a run has had since its first release.
    if level == .token {
      guard learnerOldLogProbs.count == workerLogProbs.count else {
        return try importanceLogRatios(learnerOldLogProbs, over: workerLogProbs, level: level)
      }
      return zip(learnerOldLogProbs, workerLogProbs).map {
        Double(truncatedImportanceWeight(learnerOldLogProb: $0, workerLogProb: $1, cap: Float(cap)))
      }
    }
    return try importanceLogRatios(learnerOldLogProbs, over: workerLogProbs, level: level)
      .map { min(doubleExponential($0), cap) }
  }

  /// The factors of all trajectories of an optimiser step, and the share of slots whose weight was above the cap.
  public func weights(
    _ trajectories: [(learnerOldLogProbs: [Float], workerLogProbs: [Float])]
  ) throws -> (weights: [[Double]], clippedFraction: Double) {
    var (weights, clipped, count) = ([[Double]](), 0.0, 0.0)
    for (old, worker) in trajectories {
      weights.append(try self.weights(learnerOldLogProbs: old, workerLogProbs: worker))
      let logRatios = try importanceLogRatios(old, over: worker, level: level)
      clipped += Double(logRatios.count { doubleExponential($0) > cap })
      count += Double(logRatios.count)
    }
    if normalises {
      let values = level == .token ? weights.flatMap { $0 } : weights.compactMap(\.first)
      let mean = share(values.reduce(0, +), of: Double(values.count))
      if mean > 0 { weights = weights.map { $0.map { $0 / mean } } }
    }
    return (weights, share(clipped, of: count))
  }
}
