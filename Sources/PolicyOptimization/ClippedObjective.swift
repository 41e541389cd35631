import Kernels

/// The clipped surrogate of PPO with dual clip, per token (DESIGN 1.2):
///
///     loss = max(-A rho, -A clip(rho, 1 - low, 1 + high)),  and when A < 0: min(-A c, loss)
///
/// with rho = exp(log pi_theta - log pi_old). The log-ratio is clamped to [-20, 20] before the exponential, as verl does,
/// and outside that range there is no gradient: rho would be beyond 4.8e8 or below 2.1e-9, far outside every clip range.
public struct ClippedObjective: Sendable, Equatable, Hashable, Codable {
  /// rho is clipped from below at `1 - clipLow`.
  public var clipLow: Float
  /// rho is clipped from above at `1 + clipHigh`.
  public var clipHigh: Float
  /// c of the dual clip (arXiv 1912.09729), above 1: bounds the loss of a token whose advantage is negative; `nil`: unbounded.
  public var dualClip: Float?

  /// Bound of the log-ratio, both ways.
  public static let maximumLogRatio: Float = 20

  public init(clipLow: Float = 0.2, clipHigh: Float = 0.2, dualClip: Float? = 3) {
    self.clipLow = clipLow
    self.clipHigh = clipHigh
    self.dualClip = dualClip
  }

  /// One token's part of the loss, unweighted.
  public struct Term: Sendable, Equatable {
    public var loss: Float
    /// d(loss) / d(log pi_theta).
    public var gradient: Float
    public var ratio: Float
    /// The clipped surrogate was strictly the larger (verl's `pg_clipfrac`).
    public var isClipped: Bool
    /// The dual clip bounded the loss (verl's `pg_clipfrac_lower`).
    public var isDualClipped: Bool
  }

  /// Loss and gradient of one token.
  ///
  /// Ties follow torch: `maximum` and `minimum` give each of two equal branches half of the gradient, `clamp` passes it at
  /// its bounds. Inside the clip range both branches are the same function, so the halves add up to the whole; where the
  /// dual clip exactly ties, half remains.
  public func term(logProb: Float, oldLogProb: Float, advantage: Float) -> Term {
    let logRatio = logProb - oldLogProb
    let bounded = min(max(logRatio, -Self.maximumLogRatio), Self.maximumLogRatio)
    // NaN passes through (min and max would drop it): it must reach the gradient norm, which refuses it.
    let ratio = exponential(logRatio.isNaN ? logRatio : bounded)
    let clippedRatio = min(max(ratio, 1 - clipLow), 1 + clipHigh)
    let unclippedLoss = -advantage * ratio
    let clippedLoss = -advantage * clippedRatio
    var loss = clippedLoss > unclippedLoss ? clippedLoss : unclippedLoss
    // d/dlog pi of -A rho is -A rho; of the clipped branch the same inside its bounds and zero outside.
    var gradient = unclippedLoss
    let isClipped = clippedLoss > unclippedLoss
    if isClipped { gradient = 0 }
    var isDualClipped = false
    if let dualClip, advantage < 0 {
      let bound = -advantage * dualClip
      isDualClipped = loss > bound
      if isDualClipped {
        loss = bound
        gradient = 0
      } else if loss == bound {
        gradient *= 0.5
      }
    }
    if logRatio > Self.maximumLogRatio || logRatio < -Self.maximumLogRatio { gradient = 0 }
    return Term(loss: loss, gradient: gradient, ratio: ratio, isClipped: isClipped, isDualClipped: isDualClipped)
  }

  /// Adds one trajectory's scored tokens to the loss: `weight` times the sum of its terms.
  /// - Parameters:
  ///   - logProbs: under the current parameters, (T).
  ///   - oldLogProbs: under the policy that the ratio refers to, (T).
  ///   - advantage: of the trajectory, shared by its tokens.
  ///   - weight: of each token in the loss, from `LossAggregation.weights`.
  ///   - corrections: factors per token (T) on the loss, such as `truncatedImportanceWeight`; constants of the gradient.
  ///   - gradient: d(loss) / d(logProbs), (T), accumulated.
  /// - Returns: loss and statistics of these tokens.
  /// - Throws: `OptimizationError` when the lengths differ.
  public func accumulate(
    logProbs: [Float], oldLogProbs: [Float], advantage: Float, weight: Double, corrections: [Float]? = nil,
    gradient: inout [Float]
  ) throws -> ObjectiveStatistics {
    guard oldLogProbs.count == logProbs.count, gradient.count == logProbs.count,
      corrections == nil || corrections?.count == logProbs.count
    else {
      throw OptimizationError(
        "clipped objective: \(logProbs.count) log-probs, \(oldLogProbs.count) old log-probs, \(gradient.count) gradients"
          + (corrections.map { ", \($0.count) corrections" } ?? "")
          + "; they must be parallel (a trajectory without log_probs cannot be trained on)")
    }
    var statistics = ObjectiveStatistics()
    for index in logProbs.indices {
      let term = term(logProb: logProbs[index], oldLogProb: oldLogProbs[index], advantage: advantage)
      let factor = weight * Double(corrections?[index] ?? 1)
      gradient[index] += Float(factor * Double(term.gradient))
      statistics.policyLoss += factor * Double(term.loss)
      statistics.add(term, logRatio: logProbs[index] - oldLogProbs[index])
    }
    return statistics
  }
}
