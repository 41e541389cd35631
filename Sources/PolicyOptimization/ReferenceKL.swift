/// How the divergence from the frozen reference policy is estimated (config key `kl_estimator`).
public enum KLEstimator: String, Sendable, Codable, CaseIterable {
  /// e^r - r - 1 on the log-probs of what was sampled, r = log pi_ref - log pi_theta (Schulman's k3; verl's `low_var_kl`).
  case k3
  /// The closed form on soft steps (DESIGN 1.1; SoftThinking computes it), k3 on discrete tokens.
  case exact
}

/// The k3 penalty against a frozen reference policy.
///
/// Both of verl's clamps apply: r to [-20, 20] before the exponential, and the value to at most 10. Where a clamp is active
/// there is no gradient, so that a token more than r = 2.6 likelier (or 11 less likely) under the reference is counted but
/// does not pull.
public enum ReferenceKL {
  /// Bound of r, both ways.
  public static let maximumLogRatio: Float = 20
  /// Bound of the value.
  public static let maximumValue: Float = 10

  /// k3 of one token and its derivative in `logProb`: d/dlog pi of e^r - r - 1 is 1 - e^r.
  public static func k3(logProb: Float, referenceLogProb: Float) -> (value: Float, gradient: Float) {
    let r = referenceLogProb - logProb
    // NaN passes through to the gradient norm, which refuses it.
    guard !r.isNaN else { return (r, r) }
    let bounded = min(max(r, -maximumLogRatio), maximumLogRatio)
    let ratio = exponential(bounded)
    let value = ratio - bounded - 1
    if value > maximumValue || bounded != r { return (min(value, maximumValue), 0) }
    return (value, 1 - ratio)
  }

  /// Adds `coefficient` times `weight` times the sum of k3 over one trajectory's tokens to the gradient.
  /// - Parameters:
  ///   - logProbs: under the current parameters, (T).
  ///   - referenceLogProbs: under the reference, (T).
  ///   - weight: of each token in the loss, from `LossAggregation.weights`.
  ///   - coefficient: beta.
  ///   - gradient: d(loss) / d(logProbs), (T), accumulated.
  /// - Returns: the weighted KL *without* the coefficient: `actor/kl_loss`.
  /// - Throws: `OptimizationError` when the lengths differ.
  public static func accumulate(
    logProbs: [Float], referenceLogProbs: [Float], weight: Double, coefficient: Double, gradient: inout [Float]
  ) throws -> Double {
    guard referenceLogProbs.count == logProbs.count, gradient.count == logProbs.count else {
      throw OptimizationError(
        "reference KL: \(logProbs.count) log-probs, \(referenceLogProbs.count) reference log-probs, "
          + "\(gradient.count) gradients; they must be parallel")
    }
    var sum = 0.0
    for index in logProbs.indices {
      let (value, slope) = k3(logProb: logProbs[index], referenceLogProb: referenceLogProbs[index])
      sum += Double(value)
      gradient[index] += Float(coefficient * weight * Double(slope))
    }
    return weight * sum
  }
}
