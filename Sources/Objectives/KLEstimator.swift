/// How the divergence from the frozen reference policy is estimated from the log-probs of what was sampled (config key
/// `kl_estimator`), r = log pi_ref - log pi_theta. Schulman's k1, k2 and k3; verl's `kl_penalty`.
///
/// Soft tokens: all but `exact` are Monte Carlo estimates from one sample and hold for densities as for probabilities;
/// the variance is that of a density ratio. `exact` has none.
public enum KLEstimator: String, Sendable, Codable, CaseIterable {
  /// -r: unbiased; its gradient in a loss is that of the log-prob alone, whose expectation is 0.
  case k1
  /// r^2 / 2: its gradient is an unbiased one of the divergence.
  case k2
  /// e^r - r - 1 (verl's `low_var_kl`): r within 20, the value within 10, without gradient beyond.
  case k3
  /// |r|.
  case absolute = "abs"
  /// The value of k1 with the gradient of k2.
  case k1StraightThrough = "k1+"
  /// The value of k3 with the gradient of k2.
  case k3StraightThrough = "k3+"
  /// k3 times pi_theta / pi_old, the gradient through both, without clamps: unbiased off the policy that sampled (TRL's
  /// `use_bias_correction_kl`).
  case k3ImportanceWeighted = "k3_importance_weighted"
  /// The closed form on soft steps (`CandidateScore.divergence`), k3 on discrete tokens.
  case exact

  /// The estimate of one slot, and its derivative with respect to `logProb`. For `exact` that of a discrete token.
  ///
  /// - Parameter oldLogProb: under the policy that sampled; `k3_importance_weighted` alone reads it.
  public func term(
    logProb: Float, oldLogProb: Float, referenceLogProb: Float
  ) -> (value: Float, gradient: Float) {
    let difference = referenceLogProb - logProb
    switch self {
    case .k1: return (-difference, 1)
    case .k2: return (difference * difference / 2, -difference)
    case .k3, .exact: return ReferenceKL.k3(logProb: logProb, referenceLogProb: referenceLogProb)
    case .absolute:
      return (abs(difference), difference > 0 ? -1 : difference < 0 ? 1 : difference)
    case .k1StraightThrough: return (-difference, -difference)
    case .k3StraightThrough:
      return (ReferenceKL.k3(logProb: logProb, referenceLogProb: referenceLogProb).value, -difference)
    case .k3ImportanceWeighted:
      let ratio = doubleExponential(Double(logProb) - Double(oldLogProb))
      let wide = Double(referenceLogProb) - Double(logProb)
      // The derivative: rho (e^r - r - 1) + rho (1 - e^r).
      return (Float(ratio * (doubleExponential(wide) - wide - 1)), Float(-ratio * wide))
    }
  }
}

/// The divergence as a penalty in the reward instead of in the loss: token reward = (R on the last slot) - beta
/// k(pi_old, pi_ref). Nothing here has a gradient; the advantages are formed from the penalised rewards.
public enum KLInReward {
  /// Rewards of the slots of one trajectory; their sum is the trajectory's penalised reward.
  ///
  /// - Parameters:
  ///   - oldLogProbs: under the policy that sampled, one a slot.
  ///   - referenceLogProbs: under the frozen reference, parallel.
  public static func tokenRewards(
    reward: Double, oldLogProbs: [Float], referenceLogProbs: [Float], coefficient: Double, estimator: KLEstimator
  ) throws -> [Double] {
    guard oldLogProbs.count == referenceLogProbs.count, !oldLogProbs.isEmpty else {
      throw ObjectiveError(
        "KL in the reward: \(oldLogProbs.count) log-probs of the policy and \(referenceLogProbs.count) of the reference"
      )
    }
    var rewards = zip(oldLogProbs, referenceLogProbs).map { old, reference in
      -coefficient * Double(estimator.term(logProb: old, oldLogProb: old, referenceLogProb: reference).value)
    }
    rewards[rewards.count - 1] += reward
    return rewards
  }
}

/// sum_v p_v (log p_v - log p_ref,v) over a whole vocabulary, p = softmax(z / T), and its derivative with respect to z:
/// p_v (log p_v - log p_ref,v - KL) / T.
///
/// A function: the loss of a run takes the closed form over the recorded ids of soft steps alone (`CandidateScore.divergence`), for
/// which no full row of the reference model is needed.
public func categoricalKL(
  logits: [Double], referenceLogits: [Double], temperature: Double
) throws -> (value: Double, gradient: [Double]) {
  guard logits.count == referenceLogits.count, !logits.isEmpty, temperature > 0 else {
    throw ObjectiveError(
      "categorical KL: \(logits.count) logits, \(referenceLogits.count) of the reference, temperature \(temperature)")
  }
  let (own, reference) = (
    logSoftmax(logits.map { $0 / temperature }), logSoftmax(referenceLogits.map { $0 / temperature })
  )
  let value = zip(own, reference).reduce(0.0) { $0 + doubleExponential($1.0) * ($1.0 - $1.1) }
  return (value, zip(own, reference).map { doubleExponential($0) * ($0 - $1 - value) / temperature })
}

private func logSoftmax(_ values: [Double]) -> [Double] {
  let largest = values.max() ?? 0
  let logSum = doubleLogarithm(values.reduce(0.0) { $0 + doubleExponential($1 - largest) })
  return values.map { $0 - largest - logSum }
}
