import Credit
import JSON
import Objectives
import Thinking
import Trajectories

/// Divergences from the reference policy by the base names of their files.
let klEntries: [MethodEntry] = [
  MethodEntry("estimators", "KLEstimator") { method in
    try method.require(options: ["estimator"])
    let estimator: KLEstimator = try method.choice(option: "estimator", default: .k3)
    let (logProbs, reference) = (try method.value.floats("log_probs"), try method.value.floats("ref_log_probs"))
    guard logProbs.count == reference.count else { throw UnsupportedCase("log-probs are not parallel") }
    let terms = zip(logProbs, reference).map { estimator.term(logProb: $0, oldLogProb: $0, referenceLogProb: $1) }
    return ["values": json(terms.map(\.value)), "d_value_d_log_prob": json(terms.map(\.gradient))]
  },
  MethodEntry("in_loss", "objective clipped and KLEstimator, kl_coefficient") { method in
    let estimator: KLEstimator = try method.choice(option: "estimator", default: .k3)
    let coefficient = try method.number(option: "kl_coefficient")
    let inputs = try ObjectiveInputs(method)
    let objective = try part(objectives, "clipped", method, ignoring: ["estimator", "kl_coefficient"])
    var result = try inputs.evaluate(objective)
    let policyLoss = result.loss
    var divergence = 0.0
    for (index, trajectory) in inputs.trajectories.enumerated() {
      let reference = try inputs.values[index].floats("ref_log_probs")
      guard reference.count == trajectory.slotCount else { throw UnsupportedCase("ref_log_probs are not parallel") }
      for slot in reference.indices {
        let term = estimator.term(
          logProb: trajectory.logProbs[slot], oldLogProb: trajectory.oldLogProbs[slot],
          referenceLogProb: reference[slot])
        divergence += trajectory.weight * Double(term.value)
        result.coefficients[index][slot] += Float(coefficient * trajectory.weight * Double(term.gradient))
      }
    }
    result.loss += coefficient * divergence
    var output = objectiveOutputs(result, inputs)
    output["policy_loss"] = json(policyLoss)
    output["kl_loss"] = json(divergence)
    return output
  },
  MethodEntry("in_reward", "KLInReward, estimator grpo") { method in
    try method.require(options: ["estimator", "kl_coefficient"])
    let estimator: KLEstimator = try method.choice(option: "estimator", default: .k1)
    let coefficient = try method.number(option: "kl_coefficient")
    let rewards = try method.value.list("trajectories").map {
      try KLInReward.tokenRewards(
        reward: $0.double("reward"), oldLogProbs: $0.floats("old_log_probs"),
        referenceLogProbs: $0.floats("ref_log_probs"), coefficient: coefficient, estimator: estimator)
    }
    let sums = rewards.map { $0.reduce(0, +) }
    return [
      "token_rewards": json(rewards), "rewards": json(sums), "advantages": try groupAdvantages(sums, estimator: "grpo"),
    ]
  },
  MethodEntry("exact_soft", "function gumbelStepKL, kl_estimator exact") { method in
    try method.require(options: ["noise", "reduce"])
    let reduce = try method.text(option: "reduce", default: "mean")
    guard reduce == "mean" || reduce == "sum" else { throw UnsupportedCase("reduce \(reduce) is not built") }
    let (own, reference) = (try method.value.doubles("log_q"), try method.value.doubles("log_q_ref"))
    let support = try method.value.flags("support")
    guard own.count == reference.count, own.count == support.count else {
      throw UnsupportedCase("log_q, log_q_ref and support are not parallel")
    }
    let result = gumbelStepKL(
      logQ: own, logQReference: reference, support: support, noiseScale: try method.number(option: "noise", default: 1),
      averages: reduce == "mean")
    return ["value": json(result.value), "d_value_d_log_q": json(result.gradient)]
  },
  MethodEntry("exact_categorical", "function categoricalKL") { method in
    try method.require(options: ["temperature"])
    let result = try categoricalKL(
      logits: method.value.doubles("logits"), referenceLogits: method.value.doubles("ref_logits"),
      temperature: method.number(option: "temperature", default: 1))
    return ["value": json(result.value), "d_value_d_logits": json(result.gradient)]
  },
]
