import Parameters

/// Reg-GRPO (DeepVideo-R1, arXiv 2506.07464): the normalised log-ratio of a trajectory is regressed on its advantage,
///
///     rho_i = sum_t log rho_it,   P_i = (rho_i - mean rho) / (std rho + 1e-6) in the group,   loss_i = (A_i - P_i)^2
///
/// with the unbiased std, and the gradient through mean and std. `reg_log_ratio: mean` divides rho_i by the number of
/// slots. A trajectory weighs as much as its steps together, so that `sequence_mean_token_mean` gives the mean over
/// trajectories. An advantage per step enters with its mean.
///
/// **The first mini-batch of a step**: there pi_theta = pi_old, every rho is 0, and so is their std: the prediction is
/// 0 / 0 and its gradient unbounded. Where the std of a group is below `reg_std_minimum`, the division is left out: P_i
/// = rho_i - mean rho. The gradient of that is -2 (A_i - mean A), an ordinary policy gradient; a group of one predicts
/// its own rho.
///
/// Soft tokens: log-ratios only. A sum of many density ratios is noisy; `mean` tames it.
public struct RegGRPO: Objective {
  public static let name = "reg_grpo"
  public static let summary = "Regresses the group-normalised log-ratio on the advantage (2506.07464)"
  public static let scope = ObjectiveScope.group
  public static let parameters: [Parameter] = [
    .choice("reg_log_ratio", "sum", of: ["sum", "mean"], "How a trajectory's log-ratios become one."),
    .number("reg_epsilon", 1e-6, .between(0, 1), "Added to a group's standard deviation of log-ratios."),
    .number(
      "reg_std_minimum", 0.001, .above(0),
      "Below this standard deviation, as in a step's first mini-batch, log-ratios are not divided by it."),
  ]

  public var isMean: Bool
  public var epsilon: Double
  public var minimumDeviation: Double

  public init(_ values: ParameterValues) {
    isMean = values.text("reg_log_ratio") == "mean"
    epsilon = values.number("reg_epsilon")
    minimumDeviation = values.number("reg_std_minimum")
  }

  /// A prediction of 0 is wrong by the advantage alone, but one of a zero advantage is pulled to 0.
  public var ignoresZeroAdvantages: Bool { false }

  /// The predicted advantages of a group, and whether the log-ratios were divided by their deviation.
  func prediction(_ group: [ObjectiveTrajectory]) -> (values: [Double], divisor: Double, deviation: Double?) {
    let ratios = group.map { trajectory in
      trajectory.logRatios.reduce(0, +) / (isMean ? Double(max(trajectory.slotCount, 1)) : 1)
    }
    guard ratios.count > 1 else { return (ratios, 1, nil) }
    let count = Double(ratios.count)
    let mean = ratios.reduce(0, +) / count
    let deviation = (ratios.reduce(0.0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)).squareRoot()
    // A NaN is divided by, and stays one.
    if deviation < minimumDeviation { return (ratios.map { $0 - mean }, 1, nil) }
    return (ratios.map { ($0 - mean) / (deviation + epsilon) }, deviation + epsilon, deviation)
  }

  /// What the log-ratios of a group's members predict their advantages to be.
  public func predictedAdvantages(_ group: [ObjectiveTrajectory]) -> [Double] { prediction(group).values }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    for trajectory in trajectories { try trajectory.validate() }
    result.coefficients = trajectories.map { [Float](repeating: 0, count: $0.slotCount) }
    for members in groups(trajectories) { add(members, of: trajectories, to: &result) }
    return result
  }

  private func add(_ members: [Int], of trajectories: [ObjectiveTrajectory], to result: inout ObjectiveResult) {
    let group = members.map { trajectories[$0] }
    let (predicted, divisor, deviation) = prediction(group)
    // d(loss) / d(P_i).
    var slopes: [Double] = []
    for (trajectory, value) in zip(group, predicted) {
      let advantages = trajectory.advantages
      let advantage = advantages.reduce(0.0) { $0 + Double($1) } / Double(max(advantages.count, 1))
      let scale = trajectory.totalScale
      result.loss += scale * (advantage - value) * (advantage - value)
      slopes.append(-2 * scale * (advantage - value))
    }
    let count = Double(group.count)
    let meanSlope = group.count > 1 ? slopes.reduce(0, +) / count : 0
    // Through the std: d P_j / d rho_i has -P_j (rho_i - mean) / ((G - 1) std divisor).
    let projection = zip(slopes, predicted).reduce(0.0) { $0 + $1.0 * $1.1 }
    for (place, member) in members.enumerated() {
      var slope = (slopes[place] - meanSlope) / divisor
      if let deviation { slope -= projection * predicted[place] / ((count - 1) * deviation) }
      let slots = trajectories[member].slotCount
      let coefficient = Float(isMean ? slope / Double(max(slots, 1)) : slope)
      result.coefficients[member] = [Float](repeating: coefficient, count: slots)
    }
  }

  private func groups(_ trajectories: [ObjectiveTrajectory]) -> [[Int]] {
    var (order, members) = ([Int](), [Int: [Int]]())
    for (index, trajectory) in trajectories.enumerated() {
      if members[trajectory.group] == nil { order.append(trajectory.group) }
      members[trajectory.group, default: []].append(index)
    }
    return order.compactMap { members[$0] }
  }
}
