import Credit
import JSON
import Parameters

/// Advantages by the base names of their files: the registered estimators, and functions whose inputs no run has yet.
let advantageEntries: [MethodEntry] =
  [
    estimatorEntry("grpo", "grpo", aliases: ["epsilon": "advantage_epsilon"]),
    estimatorEntry("no_std", "dr_grpo"),
    estimatorEntry("rloo", "rloo"),
    estimatorEntry("gpg", "gpg", aliases: ["f_norm": "gpg_norm"]),
    estimatorEntry(
      "ngrpo", "ngrpo",
      aliases: [
        "maximum_reward": "ngrpo_maximum_reward", "count": "ngrpo_count", "epsilon": "advantage_epsilon",
      ]),
    estimatorEntry("opo", "opo"),
    estimatorEntry("pass_at_k", "pass_at_k", aliases: ["normalise": "pass_at_k_normalise"]),
    estimatorEntry("psr_nsr", "psr_nsr", aliases: ["mode": "psr_mode", "positive_weight": "psr_weight"]),
    estimatorEntry("reinforce_pp_baseline", "reinforce_pp_baseline"),
    MethodEntry("multi_reward", "estimator multi_reward") { method in
      var inputs = try AdvantageInputs(method)
      if let weights = method.options["weights"], !weights.isNull {
        inputs.step.rewardWeights = try weights.asDoubles("weights")
      }
      var estimator = try part(
        advantageEstimators, "multi_reward", method,
        aliases: [
          "order": "multi_order", "scale": "multi_scale", "epsilon": "multi_epsilon",
          "batch_whitening": "multi_whitening",
        ], ignoring: ["weights"])
      return ["advantages": inputs.shaped(advantages: try estimator.advantages(inputs.step))]
    },
    MethodEntry("reinforce_pp", "estimator reinforce_pp") { method in
      let estimator = try part(advantageEstimators, "reinforce_pp", method, aliases: ["gamma": "return_gamma"])
      guard let estimator = estimator as? ReinforcePP else {
        throw UnsupportedCase("reinforce_pp is another estimator")
      }
      let result = estimator.advantages(tokenRewards: try method.value.rows("token_rewards"))
      return ["advantages": json(result.advantages), "returns": json(result.returns)]
    },
  ] + statefulEntries + creditFunctionEntries

/// A registered estimator under a file's options.
func estimatorEntry(_ file: String, _ name: String, aliases: [String: String] = [:]) -> MethodEntry {
  MethodEntry(file, "estimator \(name)") { method in
    let inputs = try AdvantageInputs(method)
    var estimator = try part(advantageEstimators, name, method, aliases: aliases)
    let credits = try estimator.advantages(inputs.step)
    return [
      "advantages": inputs.shaped(advantages: credits), "kept": inputs.shaped(credits.map { .bool($0.isKept) }),
      "step_weights": inputs.shaped(credits.map { credit in credit.stepWeights.map { json($0) } ?? .null }),
    ]
  }
}
