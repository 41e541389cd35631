/// TreePO's advantage of a leaf (arXiv 2508.17445): over the inner depths d of the tree, the mean of R - mean(leaves
/// that share the first d + 1 parts of its path), whitened over tokens: (x - mean) / sqrt(var + 1e-8), unbiased, every
/// leaf counting with its length.
///
/// The root always counts, subtrees of a single leaf below it are skipped, and with `skipsEqualSubgroups` those whose
/// rewards are all equal. `weighsBySize` weighs a depth by the number of leaves of its subtree. A shorter path stands
/// for itself at greater depths.
///
/// A function, not an estimator that can be trained with: no rollout plan samples trees yet. Soft tokens: forks have
/// new noise.
public struct TreeSubgroups: Sendable {
  public struct Leaf: Sendable {
    /// Fork path: the prompt, each fork, and last the leaf itself.
    public var path: [String]
    public var reward: Double
    public var length: Int

    public init(path: [String], reward: Double, length: Int) {
      self.path = path
      self.reward = reward
      self.length = length
    }
  }

  public var weighsBySize: Bool
  public var skipsEqualSubgroups: Bool

  public init(weighsBySize: Bool = true, skipsEqualSubgroups: Bool = false) {
    self.weighsBySize = weighsBySize
    self.skipsEqualSubgroups = skipsEqualSubgroups
  }

  public func advantages(_ leaves: [Leaf]) throws -> [Double] {
    guard leaves.allSatisfy({ !$0.path.isEmpty }) else { throw CreditError("tree_subgroup: a leaf has no path") }
    let depths = max((leaves.map(\.path.count).max() ?? 1) - 1, 1)
    let raw = leaves.map { leaf in
      var (sum, weights) = (0.0, 0.0)
      for depth in 0..<depths {
        let prefix = leaf.path.prefix(depth + 1)
        let rewards = leaves.filter { $0.path.prefix(depth + 1) == prefix }.map(\.reward)
        if depth > 0 && rewards.count == 1 { continue }
        if skipsEqualSubgroups && depth > 0 && rewards.allSatisfy({ $0 == rewards[0] }) { continue }
        let weight = weighsBySize ? Double(rewards.count) : 1
        // A root of one keeps its reward.
        sum += weight * (rewards.count == 1 ? leaf.reward : leaf.reward - Statistics(rewards).mean)
        weights += weight
      }
      return weights == 0 ? 0 : sum / weights
    }
    return whitened(raw, counts: leaves.map(\.length))
  }
}
