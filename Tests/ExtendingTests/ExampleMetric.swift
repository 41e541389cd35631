import Observability
import Trajectories

extension MetricName {
  /// Share of a step's trajectories that earned something.
  public static let rewardPositiveShare = "reward/positive_share"
}

/// The metric's value; nil, and so no entry in the step's line, when no trajectory has a reward.
func positiveShare(of trajectories: [Trajectory]) -> Double? {
  let rewards = trajectories.compactMap(\.reward)
  guard !rewards.isEmpty else { return nil }
  return Double(rewards.count { $0 > 0 }) / Double(rewards.count)
}
