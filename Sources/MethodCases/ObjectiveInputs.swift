import JSON
import Objectives
import Parameters

/// The trajectories of a case, as an objective sees them.
struct ObjectiveInputs {
  var trajectories: [ObjectiveTrajectory]
  /// The trajectories as they were read, for lists that only some methods have.
  var values: [JSONValue]

  /// - Throws: `UnsupportedCase` when a list is missing or not parallel, or the aggregation is not built.
  init(_ method: MethodCase, old: String = "old_log_probs") throws {
    values = try method.value.list("trajectories")
    trajectories = try values.enumerated().map { index, value in
      do { return try Self.trajectory(value, old: old) } catch {
        throw UnsupportedCase("trajectories[\(index)]: \(error)")
      }
    }
    let name = method["aggregation"]?.stringValue ?? "token_mean"
    // One loss a trajectory: its steps weigh together what the trajectory weighs.
    let alias = name == "sequence_mean" || name == "trajectory_mean" ? "sequence_mean_token_mean" : name
    guard let aggregation = LossAggregation(rawValue: alias) else {
      throw UnsupportedCase("aggregation \(name) is not built")
    }
    let length = method["maximum_length"]?.integerValue ?? method.options["maximum_length"]?.integerValue
    let weights = try aggregation.weights(tokenCounts: trajectories.map(\.stepCount), maximumLength: length)
    for index in weights.indices { trajectories[index].weight = weights[index] }
  }

  private static func trajectory(_ value: JSONValue, old: String) throws -> ObjectiveTrajectory {
    let (logProbs, slotCounts) = try slots(value, "log_probs")
    var trajectory = ObjectiveTrajectory(
      logProbs: logProbs, oldLogProbs: try slots(value, old).logProbs,
      advantages: value["advantages"] == nil ? [Float(try value.double("advantage"))] : try value.floats("advantages"),
      weight: 0, slotCounts: slotCounts, group: value["group"]?.integerValue ?? 0)
    for stream in SideStream.allCases where value[stream.rawValue] != nil {
      trajectory.streams[stream] = try value.floats(stream.rawValue)
    }
    if value["span_ids"] != nil { trajectory.spans = try value.integers("span_ids") }
    try trajectory.validate()
    return trajectory
  }

  /// One log-prob a step, or of each step a list.
  private static func slots(_ value: JSONValue, _ key: String) throws -> (logProbs: [Float], slotCounts: [Int]?) {
    let list = try value.list(key)
    guard list.first?.arrayValue != nil else { return (try value.floats(key), nil) }
    let steps = try value.rows(key)
    return (steps.flatMap { $0.map(Float.init) }, steps.map(\.count))
  }

  /// Loss, gradient and what was measured, of whole scopes.
  func evaluate(_ objective: any Objective, seed: UInt64 = 0) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    result.coefficients = trajectories.map { [Float](repeating: 0, count: $0.slotCount) }
    for scope in scopes(type(of: objective).scope) {
      let part = try objective.evaluate(scope.map { trajectories[$0] }, context: ObjectiveContext(seed: seed))
      for (index, coefficients) in zip(scope, part.coefficients) { result.coefficients[index] = coefficients }
      result.loss += part.loss
      result.sums.merge(part.sums)
    }
    for trajectory in trajectories {
      result.sums.addRatios(logProbs: trajectory.logProbs, oldLogProbs: trajectory.oldLogProbs)
    }
    return result
  }

  private func scopes(_ scope: ObjectiveScope) -> [[Int]] {
    switch scope {
    case .step, .trajectory: return trajectories.indices.map { [$0] }
    case .batch: return [Array(trajectories.indices)]
    case .group: return groups
    }
  }

  /// Indices of each group's members.
  var groups: [[Int]] {
    var (order, members): ([Int], [Int: [Int]]) = ([], [:])
    for (index, trajectory) in trajectories.enumerated() {
      if members[trajectory.group] == nil { order.append(trajectory.group) }
      members[trajectory.group, default: []].append(index)
    }
    return order.compactMap { members[$0] }
  }

  /// In the shape of the inputs.
  func shaped(_ coefficients: [[Float]]) -> JSONValue {
    .array(
      zip(trajectories, coefficients).map { trajectory, own in
        guard let counts = trajectory.slotCounts else { return json(own) }
        var start = 0
        return .array(
          counts.map { count in
            defer { start += count }
            return json(Array(own[start..<start + count]))
          })
      })
  }
}

/// The keys that files expect of objectives, from a result: loss, gradient, and what `metrics` names, by key.
func objectiveOutputs(
  _ result: ObjectiveResult, _ inputs: ObjectiveInputs, metrics: [String: String] = [:]
) -> [String: JSONValue] {
  var output: [String: JSONValue] = [
    "loss": json(result.loss), "d_loss_d_log_prob": inputs.shaped(result.coefficients),
  ]
  let names = [
    "clip_fraction": "actor/pg_clipfrac", "dual_clip_fraction": "actor/pg_clipfrac_lower",
    "masked_fraction": "actor/masked_fraction", "ppo_kl": LossSum.policyKL,
  ].merging(metrics) { $1 }
  // What the objective measures, by the last part of the metric's name.
  for name in result.sums.entries.keys where name.hasPrefix("actor/") {
    if let value = result.sums[name] { output[String(name.dropFirst("actor/".count))] = json(value) }
  }
  for (key, name) in names {
    if let value = result.sums[name] { output[key] = json(value) }
  }
  return output
}
