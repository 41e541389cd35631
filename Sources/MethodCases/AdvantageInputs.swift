import Credit
import JSON

/// The groups of a case, as an estimator sees them.
struct AdvantageInputs {
  var step: CreditStep
  /// Members of each group.
  private var sizes: [Int]

  /// Each member has one reward, or a list of them; lengths, `token_ids`, `entropy` and `truncated` are read where they
  /// are given.
  init(_ method: MethodCase) throws {
    var trajectories: [CreditTrajectory] = []
    sizes = []
    for (index, group) in try method.value.list("groups").enumerated() {
      do {
        let members = try Self.members(group, group: index)
        trajectories += members
        sizes.append(members.count)
      } catch { throw UnsupportedCase("groups[\(index)]: \(error)") }
    }
    step = CreditStep(trajectories: trajectories)
  }

  private static func members(_ group: JSONValue, group index: Int) throws -> [CreditTrajectory] {
    let rewards = try group.list("rewards")
    func parallel<Value>(_ key: String, _ read: (String) throws -> [Value], _ absent: Value) throws -> [Value] {
      guard group[key] != nil else { return [Value](repeating: absent, count: rewards.count) }
      let values = try read(key)
      guard values.count == rewards.count else {
        throw UnsupportedCase("\(rewards.count) rewards but \(values.count) in \(key)")
      }
      return values
    }
    let lengths = try parallel("lengths", group.integers, 1)
    let tokens = try parallel("token_ids", group.tokenRows, [])
    let entropy = try parallel("entropy", group.rows, [])
    let truncated = try parallel("truncated", group.flags, false)
    return try rewards.indices.map { member in
      let several = rewards[member].arrayValue == nil ? [] : try rewards[member].asDoubles("rewards")
      return CreditTrajectory(
        groupID: index, promptID: String(index),
        reward: Float(
          try rewards[member].arrayValue == nil ? rewards[member].asDouble("rewards") : several.reduce(0, +)),
        rewards: several.map(Float.init),
        length: tokens[member].isEmpty ? lengths[member] : tokens[member].count, isTruncated: truncated[member],
        tokenIDs: tokens[member], entropy: entropy[member].map(Float.init))
    }
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
    shaped(credits.map { $0.advantages.count == 1 ? json(Double($0.advantages[0])) : json($0.advantages) })
  }
}

/// Rewards of one group through an estimator with its defaults, but for those given.
func groupAdvantages(_ rewards: [Double], estimator name: String) throws -> JSONValue {
  var estimator = try advantageEstimators.make(advantageEstimators.describe(name))
  let step = CreditStep(trajectories: rewards.map { CreditTrajectory(groupID: 0, reward: Float($0)) })
  return json(try estimator.advantages(step).map { $0.advantages.first ?? 0 })
}
