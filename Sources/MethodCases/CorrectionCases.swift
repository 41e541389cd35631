import JSON
import Objectives

/// Corrections by the base names of their files: functions from log-probs to factors, composed with an objective.
let correctionEntries: [MethodEntry] = [
  MethodEntry("truncated_importance", "function TruncatedImportance, objective clipped") { method in
    let correction = TruncatedImportance(
      level: try method.choice(option: "level", default: .token), cap: try method.number(option: "cap", default: 2),
      normalises: try method.flag(option: "batch_normalise", default: false))
    var inputs = try ObjectiveInputs(method)
    let workers = try inputs.values.map { try $0.floats("worker_log_probs") }
    let (weights, fraction) = try correction.weights(
      zip(inputs.trajectories, workers).map { ($0.oldLogProbs, $1) })
    return try corrected(
      &inputs, weights, method, ignoring: ["level", "cap", "batch_normalise"],
      ["clipped_fraction": json(fraction)])
  },
  MethodEntry("masked_importance", "function MaskedImportance, objective clipped") { method in
    let correction = MaskedImportance(
      mode: try method.choice(option: "mode", default: .sequenceMask),
      minimum: try method.optionalNumber(option: "minimum"), maximum: try method.number(option: "maximum", default: 3))
    var inputs = try ObjectiveInputs(method)
    let weights = try zip(inputs.trajectories, inputs.values).map {
      try correction.weights(learnerOldLogProbs: $0.oldLogProbs, workerLogProbs: $1.floats("worker_log_probs"))
    }
    return try corrected(&inputs, weights, method, ignoring: ["mode", "minimum", "maximum"])
  },
  MethodEntry("decoupled", "function DecoupledCorrection, objective clipped around the proximal policy") { method in
    let level = try method.text(option: "level", default: "token")
    guard level == "token" || level == "sequence" else { throw UnsupportedCase("level \(level) is not built") }
    let correction = DecoupledCorrection(
      level: level == "token" ? .token : .geometricMean, action: try method.choice(option: "action", default: .clamp),
      lower: try method.optionalNumber(option: "lower"), cap: try method.number(option: "cap", default: 5))
    var inputs = try ObjectiveInputs(method, old: "proximal_log_probs")
    let weights = try zip(inputs.trajectories, inputs.values).map {
      try correction.weights(proximalLogProbs: $0.oldLogProbs, behaviourLogProbs: $1.floats("old_log_probs"))
    }
    return try corrected(&inputs, weights, method, ignoring: ["level", "action", "lower", "cap"])
  },
  MethodEntry("off_policy_sequence_mask", "function OffPolicySequenceMask, objective clipped") { method in
    let mask = OffPolicySequenceMask(threshold: try method.number(option: "threshold"))
    var inputs = try ObjectiveInputs(method)
    let kept = try inputs.trajectories.map { trajectory in
      let advantage =
        trajectory.advantages.reduce(0.0) { $0 + Double($1) } / Double(max(trajectory.advantages.count, 1))
      return try mask.isKept(
        logProbs: trajectory.logProbs, workerLogProbs: trajectory.oldLogProbs, advantage: advantage)
    }
    let weights = zip(inputs.trajectories, kept).map { [Double](repeating: $1 ? 1 : 0, count: $0.slotCount) }
    return try corrected(&inputs, weights, method, ignoring: ["threshold"], ["kept": json(kept)])
  },
  MethodEntry("reinforce_is", "function TruncatedImportance, objective gpg") { method in
    let correction = TruncatedImportance(
      level: try method.choice(option: "level", default: .token), cap: try method.number(option: "cap", default: 2))
    var inputs = try ObjectiveInputs(method)
    let weights = try inputs.trajectories.map {
      try correction.weights(learnerOldLogProbs: $0.logProbs, workerLogProbs: $0.oldLogProbs)
    }
    return try corrected(&inputs, weights, method, objective: "gpg", ignoring: ["level", "cap"])
  },
  MethodEntry("rejection", "function Rejection") { method in
    try method.require(options: ["criterion", "threshold"])
    let rejection: Rejection
    do {
      rejection = try Rejection(
        criterion: method.text(option: "criterion"), threshold: method.text(option: "threshold"))
    } catch let error as ObjectiveError { throw UnsupportedCase(error.message) }
    let kept = try method.value.list("trajectories").map {
      try rejection.kept(
        learnerOldLogProbs: $0.floats("old_log_probs"), workerLogProbs: $0.floats("worker_log_probs"))
    }
    let (all, rejected) = (kept.reduce(0) { $0 + $1.count }, kept.reduce(0) { $0 + $1.count { !$0 } })
    return ["kept": json(kept), "rejected_fraction": json(Double(rejected) / Double(max(all, 1)))]
  },
]

/// An objective whose slots' losses are multiplied by the correction's weights.
private func corrected(
  _ inputs: inout ObjectiveInputs, _ weights: [[Double]], _ method: MethodCase, objective name: String = "clipped",
  ignoring: [String], _ more: [String: JSONValue] = [:]
) throws -> [String: JSONValue] {
  for index in weights.indices { inputs.trajectories[index].factors = weights[index].map(Float.init) }
  let objective = try part(objectives, name, method, ignoring: ignoring)
  var output = objectiveOutputs(try inputs.evaluate(objective), inputs)
  output["weights"] = json(weights)
  return output.merging(more) { $1 }
}
