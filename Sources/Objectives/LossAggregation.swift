/// How token losses become one number (config key `loss_aggregation`; verl's `loss_agg_mode`).
///
/// The weights depend on token counts alone and are known before any gradient is computed, so a gradient lease needs only
/// the weights of its own trajectories, and parts add up whatever the partition. Give the counts of the *whole* batch, those
/// of skipped zero-advantage trajectories included: skipping must not change the denominator.
public enum LossAggregation: String, Sendable, Codable, CaseIterable {
  /// Sum over all tokens / number of tokens (DAPO; the default).
  case tokenMean = "token_mean"
  /// Mean over trajectories of their token means (the GRPO paper).
  case sequenceMeanTokenMean = "sequence_mean_token_mean"
  /// Mean over trajectories of their token sums.
  case sequenceMeanTokenSum = "sequence_mean_token_sum"
  /// Mean over trajectories of their token sums / the longest permitted length: a constant, free of length bias (Dr. GRPO).
  case sequenceMeanTokenSumNorm = "sequence_mean_token_sum_norm"
  /// Sum over trajectories of their token means: grows with the number of trajectories (DCPO's only-token-mean).
  case sequenceSumTokenMean = "sequence_sum_token_mean"

  /// The weight of *each token* of trajectory i in the loss: loss = sum over i of weights[i] * sum over its tokens.
  /// - Parameters:
  ///   - tokenCounts: scored tokens (soft steps and discrete tokens, no forced ones) per trajectory. One without scored
  ///     tokens has weight 0 and does not count as a sequence.
  ///   - maximumLength: scored tokens a trajectory may have; used by `sequence_mean_token_sum_norm` only.
  /// - Throws: `ObjectiveError` for a negative count, a batch without a single token, or a `maximumLength` that is
  ///   missing or not positive where it is needed.
  public func weights(tokenCounts: [Int], maximumLength: Int? = nil) throws -> [Double] {
    var total = 0
    var sequences = 0
    for (index, count) in tokenCounts.enumerated() {
      let (sum, overflow) = total.addingReportingOverflow(count)
      guard count >= 0, !overflow else {
        throw ObjectiveError("loss aggregation: trajectory \(index) has an impossible token count \(count)")
      }
      total = sum
      if count > 0 { sequences += 1 }
    }
    guard total > 0 else {
      throw ObjectiveError(
        "loss aggregation: none of the \(tokenCounts.count) trajectories has a scored token; "
          + "there is nothing to train on (are all segments forced?)")
    }
    var length = 1.0
    if self == .sequenceMeanTokenSumNorm {
      guard let maximumLength, maximumLength > 0 else {
        throw ObjectiveError(
          "loss aggregation: sequence_mean_token_sum_norm needs a positive maximum length, got "
            + (maximumLength.map(String.init) ?? "none"))
      }
      length = Double(maximumLength)
    }
    return tokenCounts.map { count in
      guard count > 0 else { return 0 }
      switch self {
      case .tokenMean: return 1 / Double(total)
      case .sequenceMeanTokenMean: return 1 / (Double(sequences) * Double(count))
      case .sequenceMeanTokenSum: return 1 / Double(sequences)
      case .sequenceMeanTokenSumNorm: return 1 / (Double(sequences) * length)
      case .sequenceSumTokenMean: return 1 / Double(count)
      }
    }
  }
}
