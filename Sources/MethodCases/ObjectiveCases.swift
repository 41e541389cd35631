import JSON
import Objectives
import Parameters

/// Objectives by the base names of their files: most are a registered part with the file's options.
let objectiveEntries: [MethodEntry] = [
  objectiveEntry("clipped", "clipped", fixed: clamp),
  objectiveEntry("dapo", "clipped", setting: "clip_low, clip_high apart, loss_aggregation token_mean"),
  objectiveEntry(
    "dr_grpo", "clipped", setting: "loss_aggregation sequence_mean_token_sum_norm", ignoring: ["maximum_length"]),
  objectiveEntry("multiplex", "clipped", setting: "a ratio for each slot of a step", fixed: clamp),
  objectiveEntry("sapo", "sapo", fixed: clamp),
  objectiveEntry("gspo", "gspo", fixed: ["dual_clip": .null]),
  objectiveEntry("gspo_token", "gspo_token", fixed: ["log_ratio_clamp_upper": .integer(10)]),
  objectiveEntry("kl_cov", "kl_cov", metrics: ["ppo_kl": "actor/kl_cov_abs_log_ratio"]),
  objectiveEntry("clip_cov", "clip_cov", metrics: ["clip_fraction": "actor/clip_cov_fraction"]),
  objectiveEntry("geo_mean", "gmpo"),
  objectiveEntry("gpg", "gpg"),
  objectiveEntry("dhpo", "dhpo", aliases: ["mix": "dhpo_mix", "pessimistic": "dhpo_pessimistic"]),
  objectiveEntry("dppo_kl", "dppo_kl"),
  objectiveEntry("span_ratio", "span_ratio"),
  objectiveEntry("probability_mask", "probability_mask"),
  MethodEntry("cispo", "objective cispo") { method in
    let upperOnly = try method.flag(option: "upper_only", default: false)
    let inputs = try ObjectiveInputs(method)
    let objective = try part(
      objectives, "cispo", method, aliases: upperOnly ? ["cap": "cispo_cap", "epsilon_high": "cispo_cap"] : [:],
      ignoring: ["upper_only"],
      fixed: clamp)
    return objectiveOutputs(try inputs.evaluate(objective), inputs)
  },
  MethodEntry("dcpo", "objective dcpo, loss_aggregation sequence_sum_token_mean") { method in
    let inputs = try ObjectiveInputs(method)
    let objective = try part(
      objectives, "dcpo", method, fixed: ["ratio_maximum": .integer(Int(DCPO.ratioMaximum))])
    var output = objectiveOutputs(try inputs.evaluate(objective), inputs)
    guard let dcpo = objective as? DCPO else { return output }
    let bounds = inputs.trajectories.map { trajectory in
      trajectory.oldLogProbs.indices.map { slot in
        var step = ObjectiveStep(logProb: 0, oldLogProb: trajectory.oldLogProbs[slot], advantage: 0)
        if let probability = trajectory.streams[.probability] { step.probability = probability[slot] }
        return dcpo.bounds(probability: DCPO.probability(of: step))
      }
    }
    output["lower_bounds"] = json(bounds.map { $0.map(\.lower) })
    output["upper_bounds"] = json(bounds.map { $0.map(\.upper) })
    return output
  },
  MethodEntry("reg_grpo", "objective reg_grpo") { method in
    let inputs = try ObjectiveInputs(method)
    let objective = try part(
      objectives, "reg_grpo", method, aliases: ["epsilon": "reg_epsilon", "log_ratio": "reg_log_ratio"],
      fixed: ["std": "unbiased"])
    var output = objectiveOutputs(try inputs.evaluate(objective), inputs)
    guard let regression = objective as? RegGRPO else { return output }
    var predicted = [Double](repeating: 0, count: inputs.trajectories.count)
    for members in inputs.groups {
      let own = regression.predictedAdvantages(members.map { inputs.trajectories[$0] })
      for (member, value) in zip(members, own) { predicted[member] = value }
    }
    output["predicted_advantages"] = json(predicted)
    return output
  },
  MethodEntry("sspo", "function addSpanSurrogates, the reducer of objectives sspo and span_ratio, with given bounds") {
    method in
    try method.require(options: ["dual_clip"])
    let inputs = try ObjectiveInputs(method)
    let (low, high) = (try method.value.rows("span_clip_low"), try method.value.rows("span_clip_high"))
    guard low.map(\.count) == high.map(\.count), low.count == inputs.trajectories.count else {
      throw UnsupportedCase("span_clip_low and span_clip_high must be parallel to the trajectories")
    }
    let dualClip = try method.optionalNumber(option: "dual_clip")
    var result = ObjectiveResult()
    for (index, trajectory) in inputs.trajectories.enumerated() {
      guard let spans = trajectory.spans, spans.allSatisfy({ low[index].indices.contains($0) }) else {
        throw UnsupportedCase("trajectories[\(index)]: every step needs a span that has bounds")
      }
      addSpanSurrogates(trajectory, spans: spans, dualClip: dualClip, to: &result) {
        (low[index][$0], high[index][$0])
      }
    }
    return objectiveOutputs(result, inputs)
  },
  MethodEntry("grao", "function GRAO.loss: a run has no reference answer among its trajectories") { method in
    try method.require(options: ["beta", "lambda"])
    func member(_ value: JSONValue) throws -> GRAO.Member {
      GRAO.Member(logProbs: try value.doubles("log_probs"), advantage: try value.double("advantage"))
    }
    let groups = try method.value.list("groups").map { group in
      GRAO.Group(
        trajectories: try group.list("trajectories").map(member),
        referenceAnswer: try member(group["reference_answer"] ?? .null))
    }
    let result = GRAO.loss(
      groups, beta: try method.number(option: "beta"), lambda: try method.number(option: "lambda"))
    return [
      "loss": json(result.loss), "d_loss_d_log_prob": .array(result.gradient.map { json($0) }),
      "d_loss_d_reference_log_prob": json(result.referenceGradient),
    ]
  },
]

/// The bound of log-ratios, which is a constant.
private let clamp: [String: JSONValue] = ["log_ratio_clamp": .integer(Int(maximumLogRatio))]

/// A registered objective under a file's options.
func objectiveEntry(
  _ file: String, _ name: String, setting: String? = nil, aliases: [String: String] = [:], ignoring: [String] = [],
  fixed: [String: JSONValue] = [:], metrics: [String: String] = [:]
) -> MethodEntry {
  MethodEntry(
    file, "objective \(name)" + (setting.map { ": \($0)" } ?? ""), isBuilt: objectives.names.contains(name)
  ) { method in
    let inputs = try ObjectiveInputs(method)
    let objective = try part(objectives, name, method, aliases: aliases, ignoring: ignoring, fixed: fixed)
    return objectiveOutputs(try inputs.evaluate(objective), inputs, metrics: metrics)
  }
}
