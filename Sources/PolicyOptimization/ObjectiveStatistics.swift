/// Sums over scored tokens from which the `actor/...` metrics follow; parts from gradient leases are merged by addition.
public struct ObjectiveStatistics: Sendable, Equatable, Codable {
  public var tokenCount = 0
  /// Tokens whose clipped surrogate was the larger.
  public var clippedCount = 0
  /// Tokens bounded by the dual clip.
  public var dualClippedCount = 0
  /// Sum of log pi_old - log pi_theta.
  public var logRatioSum = 0.0
  public var ratioSum = 0.0
  public var ratioMaximum: Float = 0
  /// This part's weighted share of the policy loss: parts add up to the batch's loss.
  public var policyLoss = 0.0
  /// This part's weighted share of the KL loss, without its coefficient.
  public var klLoss = 0.0
  /// Steps whose loss had a truncated importance weight, the sum of the weights, and how many were at the cap.
  public var importanceCount = 0
  public var importanceSum = 0.0
  public var importanceClippedCount = 0
  /// The same for the weights that correct for the age of a trajectory's policy.
  public var behaviourCount = 0
  public var behaviourSum = 0.0
  public var behaviourClippedCount = 0

  public init() {}

  /// `actor/pg_clipfrac`.
  public var clipFraction: Double { mean(Double(clippedCount)) }
  /// `actor/pg_clipfrac_lower`.
  public var dualClipFraction: Double { mean(Double(dualClippedCount)) }
  /// `actor/ppo_kl`: mean of log pi_old - log pi_theta, the k1 estimate of how far the update has moved.
  public var ppoKL: Double { mean(logRatioSum) }
  public var ratioMean: Double { mean(ratioSum) }
  /// `training/importance_weight_mean`; nil when nothing was corrected.
  public var importanceMean: Double? { importanceCount == 0 ? nil : importanceSum / Double(importanceCount) }
  /// `training/importance_weight_clipped`: share of the weights at the cap.
  public var importanceClipFraction: Double? {
    importanceCount == 0 ? nil : Double(importanceClippedCount) / Double(importanceCount)
  }

  /// `off_policy/behaviour_weight_mean`; nil when no age was corrected for.
  public var behaviourMean: Double? { behaviourCount == 0 ? nil : behaviourSum / Double(behaviourCount) }
  /// `off_policy/behaviour_weight_clipped`: share of those weights at the cap.
  public var behaviourClipFraction: Double? {
    behaviourCount == 0 ? nil : Double(behaviourClippedCount) / Double(behaviourCount)
  }

  mutating func add(_ term: ClippedObjective.Term, logRatio: Float) {
    tokenCount += 1
    if term.isClipped { clippedCount += 1 }
    if term.isDualClipped { dualClippedCount += 1 }
    let bound = ClippedObjective.maximumLogRatio
    logRatioSum -= Double(logRatio.isNaN ? logRatio : min(max(logRatio, -bound), bound))
    ratioSum += Double(term.ratio)
    // A NaN stays: a maximum that forgets it would hide a broken log-prob.
    if term.ratio > ratioMaximum || term.ratio.isNaN { ratioMaximum = term.ratio }
  }

  /// Adds a trajectory's truncated importance weights.
  public mutating func add(importanceWeights: [Float], cap: Float) {
    importanceCount += importanceWeights.count
    importanceSum += importanceWeights.reduce(0.0) { $0 + Double($1) }
    importanceClippedCount += importanceWeights.count { $0 >= cap }
  }

  /// Adds the weights that correct for the age of a trajectory's policy: they say nothing about anyone's arithmetic.
  public mutating func add(behaviourWeights: [Float], cap: Float) {
    behaviourCount += behaviourWeights.count
    behaviourSum += behaviourWeights.reduce(0.0) { $0 + Double($1) }
    behaviourClippedCount += behaviourWeights.count { $0 >= cap }
  }

  /// Adds another part of the same batch. The order of merges decides the last bits: merge in lease order.
  public mutating func merge(_ other: ObjectiveStatistics) {
    tokenCount += other.tokenCount
    clippedCount += other.clippedCount
    dualClippedCount += other.dualClippedCount
    logRatioSum += other.logRatioSum
    ratioSum += other.ratioSum
    if other.ratioMaximum > ratioMaximum || other.ratioMaximum.isNaN { ratioMaximum = other.ratioMaximum }
    policyLoss += other.policyLoss
    klLoss += other.klLoss
    importanceCount += other.importanceCount
    importanceSum += other.importanceSum
    importanceClippedCount += other.importanceClippedCount
    behaviourCount += other.behaviourCount
    behaviourSum += other.behaviourSum
    behaviourClippedCount += other.behaviourClippedCount
  }

  private func mean(_ sum: Double) -> Double { tokenCount == 0 ? 0 : sum / Double(tokenCount) }
}
