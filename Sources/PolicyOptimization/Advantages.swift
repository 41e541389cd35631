/// How the rewards of a group become advantages (DESIGN 1.2; config key `advantage`).
public enum AdvantageEstimator: String, Sendable, Codable, CaseIterable {
  /// (R - mean) / (std + 1e-6), unbiased std: GRPO (DeepSeekMath, arXiv 2402.03300).
  case grpo
  /// R - mean, no division: Dr. GRPO (arXiv 2503.20783).
  case drGRPO = "dr_grpo"
  /// R - mean of the *other* members of the group: RLOO (arXiv 2402.14740).
  case rloo

  /// Added to the standard deviation.
  public static let epsilon = 1e-6

  /// Group-relative advantages, one per trajectory.
  ///
  /// A group of one has nothing to be relative to: its advantage is its reward. Sums run in Double in the order given, so
  /// that a group of equal rewards comes out at exactly zero.
  /// - Parameters:
  ///   - rewards: one finite reward per trajectory.
  ///   - groupIDs: the group of each trajectory; members need not be adjacent.
  /// - Throws: `OptimizationError` when the lengths differ or a reward is not finite.
  public func advantages(rewards: [Float], groupIDs: [Int]) throws -> [Float] {
    guard rewards.count == groupIDs.count else {
      throw OptimizationError(
        "advantages: \(rewards.count) rewards but \(groupIDs.count) group ids; they must be parallel")
    }
    var members: [Int: [Int]] = [:]
    for (index, groupID) in groupIDs.enumerated() {
      guard rewards[index].isFinite else {
        throw OptimizationError(
          "advantages: the reward of trajectory \(index) (group \(groupID)) is \(rewards[index]); "
            + "a reward function must return a finite number")
      }
      members[groupID, default: []].append(index)
    }
    var result = [Float](repeating: 0, count: rewards.count)
    // Groups are independent, so the dictionary's order cannot be seen in the result.
    for indices in members.values {
      assign(rewards, indices, &result)
    }
    return result
  }

  private func assign(_ rewards: [Float], _ indices: [Int], _ result: inout [Float]) {
    guard indices.count > 1 else {
      result[indices[0]] = rewards[indices[0]]
      return
    }
    let count = Double(indices.count)
    let mean = indices.reduce(0.0) { $0 + Double(rewards[$1]) } / count
    var squares = 0.0
    for index in indices {
      let deviation = Double(rewards[index]) - mean
      squares += deviation * deviation
    }
    let factor: Double
    switch self {
    case .grpo: factor = 1 / ((squares / (count - 1)).squareRoot() + Self.epsilon)
    case .drGRPO: factor = 1
    // R - (sum - R) / (G - 1) = (R - mean) G / (G - 1)
    case .rloo: factor = count / (count - 1)
    }
    for index in indices { result[index] = Float((Double(rewards[index]) - mean) * factor) }
  }
}
