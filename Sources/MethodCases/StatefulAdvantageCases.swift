import Credit
import JSON
import Objectives

/// Estimators that remember, and GTPO, whose file is of losses.
let statefulEntries: [MethodEntry] = [
  MethodEntry("dcpo_sas", "estimator dcpo_sas") { method in
    guard
      var estimator = try part(advantageEstimators, "dcpo_sas", method) as? SmoothStandardisation
    else { throw UnsupportedCase("dcpo_sas is another estimator") }
    var (advantages, states): ([[Double]], [JSONValue]) = ([], [])
    for rewards in try method.value.rows("visits") {
      advantages.append(try estimator.visit(prompt: "p", rewards: rewards))
      guard let state = estimator.histories["p"] else { continue }
      states.append(
        .members(["visits": .integer(state.visits), "mean": json(state.mean), "std": json(state.deviation)]))
    }
    return ["advantages": json(advantages), "state": .array(states)]
  },
  MethodEntry("value_tracker", "estimator value_tracker") { method in
    guard
      var tracker = try part(
        advantageEstimators, "value_tracker", method,
        aliases: [
          "rho_min": "tracker_rho_min", "rho_max": "tracker_rho_max", "d_half": "tracker_half",
          "exploration": "tracker_exploration",
        ]) as? ValueTracker
    else { throw UnsupportedCase("value_tracker is another estimator") }
    var initial = JSONObject()
    for (prompt, scores) in method["initial_scores"]?.objectValue?.members ?? [] {
      try tracker.initialise(prompt: prompt, rewards: scores.asDoubles("initial_scores"))
      let belief = tracker.belief(prompt)
      initial[prompt] = .members([
        "alpha": json(belief.alpha), "beta": json(belief.beta), "value": json(belief.value),
        "sampler_weight": json(tracker.samplerWeight(prompt)),
      ])
    }
    let steps = try method.value.list("steps").map { step in try trackerStep(step.arrayValue ?? [], &tracker) }
    return ["initial": .object(initial), "steps": .array(steps)]
  },
  MethodEntry("gtpo", "estimator gtpo, and objective clipped at ratio 1") { method in
    let rewards = try method.value.doubles("rewards")
    let tokens = try method.value.tokenRows("token_ids")
    let entropy = try method.value.rows("entropy")
    let aliases = [
      "positive_weight": "gtpo_positive_weight", "negative_weight": "gtpo_negative_weight",
      "entropy_coefficient": "gtpo_entropy_coefficient", "entropy_threshold": "gtpo_entropy_threshold",
    ]
    var output: [String: JSONValue] = [:]
    for (form, suffix) in [("released", "released"), ("paper", "paper")] {
      guard
        var estimator = try part(
          advantageEstimators, "gtpo", method, aliases: aliases, ignoring: ["form"], setting: ["gtpo_form": .text(form)]
        )
          as? GTPO
      else { throw UnsupportedCase("gtpo is another estimator") }
      let own = try estimator.analyse(rewards: rewards, tokenIDs: tokens, entropy: entropy)
      if form == "released" {
        output["advantages"] = json(own.map(\.advantage))
        output["conflict_weights"] = json(own.map(\.conflictWeights))
        output["conflict_tokens"] = json(own.map(\.conflictTokens))
        output["mean_entropy"] = json(own.map(\.meanEntropy))
        output["shaped_advantages"] = json(own.map(\.shapedAdvantage))
        output["kept"] = json(own.map(\.isKept))
      } else {
        output["kept_paper"] = json(own.map(\.isKept))
      }
      let step = CreditStep(
        trajectories: rewards.indices.map { index in
          CreditTrajectory(
            groupID: 0, reward: Float(rewards[index]), length: tokens[index].count, tokenIDs: tokens[index],
            entropy: entropy[index].map(Float.init))
        })
      // The released loss sums over trajectories, the paper's takes their mean.
      let aggregation = form == "released" ? LossAggregation.sequenceSumTokenMean : .sequenceMeanTokenMean
      let result = try onPolicyLoss(estimator.advantages(step), lengths: tokens.map(\.count), aggregation)
      output["loss_" + suffix] = json(result.loss)
      output["d_loss_\(suffix)_d_log_prob"] = json(result.coefficients)
    }
    return output
  },
]

/// Rows of one step: advantages from the values before it, and what is believed after it.
private func trackerStep(_ rows: [JSONValue], _ tracker: inout ValueTracker) throws -> JSONValue {
  var (trajectories, drifts): ([CreditTrajectory], [String: Double]) = ([], [:])
  var (values, ownDrifts): ([Double], [Double]) = ([], [])
  for (index, row) in rows.enumerated() {
    guard let prompt = row["prompt"]?.stringValue else { throw UnsupportedCase("steps[][\(index)] has no prompt") }
    var drift = 0.0
    if let last = row["last_log_probs"], !last.isNull {
      drift = try ValueTracker.drift(
        lastLogProbs: row.floats("last_log_probs"), nowLogProbs: row.floats("now_log_probs"))
    }
    drifts[prompt] = drift
    ownDrifts.append(drift)
    values.append(tracker.belief(prompt).value)
    trajectories.append(
      CreditTrajectory(groupID: index, promptID: prompt, reward: Float(try row.double("reward"))))
  }
  let advantages = try tracker.advantages(CreditStep(trajectories: trajectories), drifts: drifts)
  return .members([
    "values_before": json(values), "advantages": json(advantages), "drift": json(ownDrifts),
    "rho": json(ownDrifts.map { tracker.retention(drift: $0) }),
    "state_after": .array(
      trajectories.map {
        let belief = tracker.belief($0.promptID)
        return .members(["alpha": json(belief.alpha), "beta": json(belief.beta)])
      }),
  ])
}

/// The clipped objective where the policy is the one that sampled.
private func onPolicyLoss(
  _ credits: [Credit], lengths: [Int], _ aggregation: LossAggregation
) throws -> ObjectiveResult {
  let weights = try aggregation.weights(tokenCounts: lengths)
  let trajectories = credits.indices.map { index in
    let logProbs = [Float](repeating: -1, count: lengths[index])
    return ObjectiveTrajectory(
      logProbs: logProbs, oldLogProbs: logProbs, advantages: credits[index].advantages, weight: weights[index],
      factors: credits[index].stepWeights)
  }
  return try Clipped().evaluate(trajectories, context: ObjectiveContext())
}
