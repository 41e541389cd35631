/// D3S (arXiv 2509.22115): of a whole batch, the N trajectories whose advantages vary most, and of their tokens the
/// share K with the largest |A| H. Advantages are normalised in their groups before, and not again. N and K grow
/// linearly from an aggressive start.
///
/// Soft tokens: H is the categorical entropy of a step; nothing changes.
public struct VarianceSelection: Sendable {
  public var rollouts: Int
  public var tokenShare: Double

  public init(rollouts: Int, tokenShare: Double) {
    self.rollouts = rollouts
    self.tokenShare = tokenShare
  }

  /// N and K at a progress of 0 to 1.
  public static func scheduled(
    initial: (rollouts: Double, tokenShare: Double), final: (rollouts: Double, tokenShare: Double), progress: Double
  ) -> (rollouts: Double, tokenShare: Double) {
    func between(_ from: Double, _ to: Double) -> Double { from + (to - from) * min(max(progress, 0), 1) }
    return (between(initial.rollouts, final.rollouts), between(initial.tokenShare, final.tokenShare))
  }

  /// The N advantages of largest population variance: in sorted order some of the lowest and some of the highest; of
  /// equal variances the choice with more of the highest.
  ///
  /// - Returns: their indices, ascending, and the variance.
  public func selected(advantages: [Double]) -> (indices: [Int], variance: Double) {
    let order = advantages.indices.sorted { (advantages[$0], $0) < (advantages[$1], $1) }
    let number = min(max(rollouts, 0), order.count)
    var best: (indices: [Int], variance: Double) = ([], -1)
    for low in 0...number {
      let choice = Array(order.prefix(low) + order.suffix(number - low))
      let variance = choice.isEmpty ? 0 : Statistics(choice.map { advantages[$0] }).squares / Double(choice.count)
      if variance > best.variance { best = (choice, variance) }
    }
    return (best.indices.sorted(), max(best.variance, 0))
  }

  /// Of the tokens of the selected trajectories, floor(K * tokens) with the largest |A| H; at least one.
  ///
  /// - Parameters:
  ///   - entropy: of every trajectory, one a step.
  ///   - selected: indices of trajectories.
  /// - Returns: [trajectory, step], sorted.
  public func tokens(advantages: [Double], entropy: [[Double]], selected: [Int]) throws -> [[Int]] {
    guard entropy.count == advantages.count else {
      throw CreditError("d3s: \(entropy.count) trajectories have entropies but \(advantages.count) an advantage")
    }
    var all = selected.flatMap { index in entropy[index].indices.map { [index, $0] } }
    func weight(_ token: [Int]) -> Double { abs(advantages[token[0]]) * entropy[token[0]][token[1]] }
    all.sort { weight($0) != weight($1) ? weight($0) > weight($1) : $0.lexicographicallyPrecedes($1) }
    // 0.29 of 100 tokens are 29, whatever the product's last bit.
    let wanted = (min(max(tokenShare, 0), 1) * Double(all.count) + 1e-9).rounded(.down)
    let number = min(max(Int(wanted), 1), all.count)
    return all.prefix(number).sorted { $0.lexicographicallyPrecedes($1) }
  }
}
