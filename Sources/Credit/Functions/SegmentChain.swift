/// Segment Policy Optimization, chain form (arXiv 2505.23564): a trajectory is cut before every `interval`-th token of
/// low probability, the first such one included; Monte-Carlo values at the cuts give each segment A = V(its end) -
/// V(its start), V(end of the trajectory) = its score. Tokens of probability above the cut get 0; so does the first
/// segment, unless its very first token is a cut; so does a trajectory without cuts.
///
/// A function, not an estimator that can be trained with: the values are means over completions from each cut, which no
/// rollout plan samples yet. Soft tokens: probabilities are the categorical ones, and a cut's prefix must be replayed
/// from the recorded mixtures.
public struct SegmentChain: Sendable {
  public var probabilityCut: Double
  public var interval: Int

  public init(probabilityCut: Double = 0.9, interval: Int = 5) {
    self.probabilityCut = probabilityCut
    self.interval = interval
  }

  /// Cut c lies after token c, -1 at the prompt.
  public func cutPoints(probabilities: [Double]) -> [Int] {
    let low = probabilities.indices.filter { probabilities[$0] < probabilityCut }
    return stride(from: 0, to: low.count, by: max(interval, 1)).map { low[$0] - 1 }
  }

  /// - Parameters:
  ///   - values: V at each cut.
  ///   - score: of the trajectory.
  /// - Returns: one a token.
  public func advantages(probabilities: [Double], values: [Double], score: Double) throws -> [Double] {
    let cuts = cutPoints(probabilities: probabilities)
    guard values.count == cuts.count else {
      throw CreditError("segment_chain: \(values.count) values for \(cuts.count) cuts")
    }
    var advantages = [Double](repeating: 0, count: probabilities.count)
    for (index, cut) in cuts.enumerated() {
      let isLast = index + 1 == cuts.count
      let end = isLast ? probabilities.count : cuts[index + 1] + 1
      let advantage = (isLast ? score : values[index + 1]) - values[index]
      for token in (cut + 1)..<end where probabilities[token] <= probabilityCut { advantages[token] = advantage }
    }
    return advantages
  }
}
