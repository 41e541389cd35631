import Credit
import JSON

/// The groups of a case, as an estimator sees them.
struct AdvantageInputs {
  var step: CreditStep
  /// Members of each group.
  private var sizes: [Int]

  /// - Parameter several: each member has a list of rewards.
  init(_ method: MethodCase, several: Bool = false) throws {
    var trajectories: [CreditTrajectory] = []
    sizes = []
    for (index, group) in try method.value.list("groups").enumerated() {
      let rewards = try several ? group.rows("rewards") : group.doubles("rewards").map { [$0] }
      let lengths = group["lengths"] == nil ? [Int](repeating: 1, count: rewards.count) : try group.integers("lengths")
      guard lengths.count == rewards.count else {
        throw UnsupportedCase("groups[\(index)]: \(rewards.count) rewards but \(lengths.count) lengths")
      }
      for (own, length) in zip(rewards, lengths) {
        trajectories.append(
          CreditTrajectory(
            groupID: index, promptID: String(index), reward: Float(own.first ?? 0),
            rewards: several ? own.map(Float.init) : [], length: length))
      }
      sizes.append(rewards.count)
    }
    step = CreditStep(trajectories: trajectories)
  }

  /// One a trajectory, in the shape of the groups.
  func shaped(_ values: [JSONValue]) -> JSONValue {
    var start = 0
    return .array(
      sizes.map { size in
        defer { start += size }
        return .array(Array(values[start..<start + size]))
      })
  }

  func shaped(advantages credits: [Credit]) -> JSONValue {
    shaped(credits.map { json(Double($0.advantages.first ?? 0)) })
  }
}

/// Rewards of one group through an estimator with its defaults, but for those given.
func groupAdvantages(_ rewards: [Double], estimator name: String) throws -> JSONValue {
  var estimator = try advantageEstimators.make(advantageEstimators.describe(name))
  let step = CreditStep(trajectories: rewards.map { CreditTrajectory(groupID: 0, reward: Float($0)) })
  return json(try estimator.advantages(step).map { $0.advantages.first ?? 0 })
}
