import Credit
import JSON
import Tasks

/// Reward shapes by the base names of their files.
let rewardEntries: [MethodEntry] = [
  MethodEntry("overlong", "function overlongPenalty, times its weight") { method in
    try method.require(options: ["maximum_length", "buffer", "factor"])
    let (maximum, buffer) = (try method.integer(option: "maximum_length"), try method.integer(option: "buffer"))
    guard buffer > 0, buffer <= maximum else { throw UnsupportedCase("buffer must be in 1...\(maximum)") }
    let factor = try method.number(option: "factor", default: 1)
    return [
      "penalties": json(
        try method.value.integers("lengths").map {
          factor * Double(overlongPenalty(length: $0, maximumLength: maximum, bufferLength: buffer))
        })
    ]
  },
  MethodEntry("budget_curriculum", "function BudgetCurriculum") { method in
    try method.require(options: ["initial_budget", "gamma", "interval", "maximum", "weights"])
    let weights = try method.options["weights"]?.asDoubles("weights") ?? [0.3, 0.6, 0.1]
    guard weights.count == 3 else { throw UnsupportedCase("weights must be three: correctness, length, format") }
    let curriculum = BudgetCurriculum(
      initialBudget: try method.number(option: "initial_budget", default: 256),
      gamma: try method.number(option: "gamma", default: 0.7),
      interval: try method.integer(option: "interval", default: 100),
      maximum: try method.number(option: "maximum", default: 1), correctWeight: weights[0], lengthWeight: weights[1],
      formatWeight: weights[2])
    let step = try method.value.integer("step")
    let budget = curriculum.budget(step: step)
    let trajectories = try method.value.list("trajectories")
    return [
      "budget": json(budget),
      "length_rewards": json(
        try trajectories.map { curriculum.lengthReward(length: try $0.integer("length"), budget: budget) }),
      "rewards": json(
        try trajectories.map {
          guard let isCorrect = $0["correct"]?.boolValue else { throw UnsupportedCase("correct must be true or false") }
          return curriculum.reward(
            length: try $0.integer("length"), isCorrect: isCorrect, format: try $0.double("format"), step: step)
        }),
    ]
  },
  MethodEntry("format_diversity", "function formatDiversityRewards, estimator grpo") { method in
    try method.require(options: ["step", "total_steps"])
    let (step, total) = (try method.number(option: "step"), try method.number(option: "total_steps"))
    guard total > 0 else { throw UnsupportedCase("total_steps must be positive") }
    let rewards = try formatDiversityRewards(
      method.value.doubles("rewards"), formats: method.value.texts("formats"), progress: step / total)
    return ["rewards": json(rewards), "advantages": try groupAdvantages(rewards, estimator: "grpo")]
  },
  MethodEntry("gated_length", "function GatedLength") { method in
    try method.require(options: ["share", "strength"])
    let gate = GatedLength(
      share: try method.number(option: "share", default: 0.5),
      strength: try method.number(option: "strength", default: 0.2))
    let groups = try method.value.list("groups")
    let correct = try groups.map { try $0.flags("correct") }
    return [
      "gated": json(gate.gated(correct: correct)),
      "rewards": json(try gate.rewards(correct: correct, lengths: groups.map { try $0.integers("lengths") })),
    ]
  },
  MethodEntry("serial_exit", "reward serial_exit, estimator dr_grpo") { method in
    try method.require(options: ["decay", "decay_by"])
    let by = try method.text(option: "decay_by", default: "correct")
    guard let decayBy = SerialExitReward.DecayBy(rawValue: by) else {
      throw UnsupportedCase("decay_by \(by) is not built")
    }
    let rewards = SerialExitReward.rewards(
      correct: try method.value.flags("correct"), decay: try method.number(option: "decay", default: 2),
      decayBy: decayBy)
    return ["rewards": json(rewards), "advantages": try groupAdvantages(rewards, estimator: "dr_grpo")]
  },
]
