import Parameters

/// Rejection of what the learner and the worker disagree on (verl's `rollout_rs`): with r = pi_learner,old / pi_worker,
/// log r within 20,
///
///     k1 = -log r,   k2 = (log r)^2 / 2,   k3 = r - 1 - log r
///
/// per slot, or their mean, sum or maximum over the trajectory. k1 must lie within [log lower, log upper], k2 and k3
/// must not exceed upper. k1 is *minus* log r, so that asymmetric bounds keep r in [1 / upper, 1 / lower]. What is
/// rejected leaves the loss's denominator, too.
///
/// Soft tokens: the log-ratio of two densities of one recorded mixture; nothing changes.
///
/// In a run both the trajectories of other arithmetic and older ones are looked at; a step of several slots stays where all of
/// them do.
public struct Rejection: Correction, Equatable {
  public static let name = "rejection"
  public static let summary = "drops what learner and worker disagree on, from the denominator too (verl's rollout_rs)"
  public static let parameters: [Parameter] = [
    .choice(
      "rejection_reach", "token", of: Reach.allCases.map(\.rawValue),
      "What is judged: a slot, or a trajectory by the mean, sum or maximum over its slots."),
    .choice(
      "rejection_divergence", "k1", of: Divergence.allCases.map(\.rawValue), "By which estimate, as `kl_estimator`."),
    .optionalNumber("rejection_lower", nil, .above(0), "k1 only: smallest 1 / ratio; null: 1 / `rejection_upper`."),
    .number("rejection_upper", 2, .above(0), "k1: largest 1 / ratio; k2, k3: largest value."),
  ]

  public enum Reach: String, Sendable, CaseIterable {
    case token
    case mean = "seq_mean"
    case sum = "seq_sum"
    case maximum = "seq_max"
  }
  public enum Divergence: String, Sendable, CaseIterable { case k1, k2, k3 }

  public var reach: Reach
  public var divergence: Divergence
  /// Of r, for k1; nil: its inverse is `upper`.
  public var lower: Double?
  public var upper: Double

  public init(reach: Reach, divergence: Divergence, lower: Double? = nil, upper: Double) throws {
    guard upper > 0, lower.map({ $0 > 0 && $0 <= upper }) ?? true else {
      throw ObjectiveError("rejection: bounds must be positive and in order, got \(lower ?? 1 / upper) to \(upper)")
    }
    self.reach = reach
    self.divergence = divergence
    self.lower = lower
    self.upper = upper
  }

  public init(_ values: ParameterValues) throws {
    do {
      try self.init(
        reach: Reach(rawValue: values.text("rejection_reach")) ?? .token,
        divergence: Divergence(rawValue: values.text("rejection_divergence")) ?? .k1,
        lower: values.optionalNumber("rejection_lower"), upper: values.number("rejection_upper"))
    } catch { throw ParameterError("rejection_lower: \(error)") }
  }

  public func factors(_ trajectories: [CorrectedTrajectory], caps: CorrectionCaps) throws -> [CorrectionFactors] {
    try trajectories.map {
      CorrectionFactors(kept: try kept(learnerOldLogProbs: $0.logProbs, workerLogProbs: $0.workerLogProbs))
    }
  }

  /// By verl's names: criterion `seq_mean_k1`, threshold `0.5_2.0` or `2.0`.
  public init(criterion: String, threshold: String) throws {
    let reaches = Reach.allCases.filter { criterion.hasPrefix($0.rawValue + "_") }
    guard let reach = reaches.first,
      let divergence = Divergence(rawValue: String(criterion.dropFirst(reach.rawValue.count + 1)))
    else {
      throw ObjectiveError(
        "rejection: '\(criterion)' is none of token, seq_mean, seq_sum, seq_max with _k1, _k2 or _k3")
    }
    let bounds = threshold.split(separator: "_").map { Double($0) }
    guard let last = bounds.last, let upper = last, bounds.count <= 2, let first = bounds.first, let lower = first
    else {
      throw ObjectiveError("rejection: '\(threshold)' is no bound and no pair of bounds such as 0.5_2.0")
    }
    try self.init(reach: reach, divergence: divergence, lower: bounds.count == 2 ? lower : nil, upper: upper)
  }

  /// Which slots of a trajectory stay.
  public func kept(learnerOldLogProbs: [Float], workerLogProbs: [Float]) throws -> [Bool] {
    let values = try importanceLogRatios(learnerOldLogProbs, over: workerLogProbs, level: .token).map { logRatio in
      switch divergence {
      case .k1: -logRatio
      case .k2: logRatio * logRatio / 2
      case .k3: doubleExponential(logRatio) - 1 - logRatio
      }
    }
    switch reach {
    case .token: return values.map(isWithin)
    case .mean: return all(values, values.reduce(0, +) / Double(max(values.count, 1)))
    case .sum: return all(values, values.reduce(0, +))
    case .maximum: return all(values, values.max() ?? 0)
    }
  }

  private func all(_ values: [Double], _ value: Double) -> [Bool] {
    [Bool](repeating: isWithin(value), count: values.count)
  }

  private func isWithin(_ value: Double) -> Bool {
    guard divergence == .k1 else { return value <= upper }
    return value >= doubleLogarithm(lower ?? 1 / upper) && value <= doubleLogarithm(upper)
  }
}
