/// One thing that can be wrong with a run, seen in the records of its last steps. Pure: the same records give the same finding.
public struct WarningRule: Sendable {
  /// What the rule looks at.
  public struct View: Sendable {
    /// The newest `steps` records.
    public var records: ArraySlice<MetricsRecord>
    /// The run's first records, for comparison; at most `WarningWatch.baselineSteps`.
    public var baseline: [MetricsRecord]
    public var facts: RunFacts

    /// Of each record that has it.
    func values(_ name: String) -> [Double] { records.compactMap { $0.metrics[name] } }
    func newest(_ name: String) -> Double? { records.last?.metrics[name] }
    /// Whether every record has the metric and it satisfies the condition.
    func all(_ name: String, _ condition: (Double) -> Bool) -> Bool {
      !records.isEmpty && records.allSatisfy { $0.metrics[name].map(condition) ?? false }
    }
  }

  public struct Finding: Sendable, Equatable {
    public var what: String
    public var causes: [RunWarning.Cause]
  }

  /// As `run.stop_when` names it.
  public let name: String
  /// For the documentation's table.
  public let summary: String
  /// Consecutive steps that must show it.
  public let steps: Int
  /// The rule says nothing where one of these already speaks.
  public let yields: [String]
  let check: @Sendable (View) -> Finding?

  init(
    _ name: String, _ summary: String, steps: Int, yieldsTo yields: [String] = [],
    check: @escaping @Sendable (View) -> Finding?
  ) {
    self.name = name
    self.summary = summary
    self.steps = steps
    self.yields = yields
    self.check = check
  }

  /// The rule of rewards that are all 0.
  public static let noReward = "no_reward"

  /// Every rule over step records, in the order in which they speak.
  public static let all: [WarningRule] = [
    WarningRule(noReward, "Every reward of 3 steps is 0.", steps: 3) { view in
      guard view.all(MetricName.rewardMaximum, { $0 == 0 }), view.all(MetricName.rewardMinimum, { $0 == 0 }) else {
        return nil
      }
      let samples = Int(view.values(MetricName.rolloutTrained).reduce(0, +))
      return Finding(
        what: "all rewards are 0: \(samples) samples in \(view.records.count) steps; there is no gradient",
        causes: causesOfZero(view))
    },
    WarningRule(
      "no_signal", "In 3 steps no group has two rewards that differ.", steps: 3, yieldsTo: [noReward]
    ) { view in
      guard
        view.records.allSatisfy({ record in
          guard let equal = record.metrics[MetricName.groupsWithoutSignal], let all = record.metrics[MetricName.groups]
          else { return false }
          return all > 0 && equal >= all
        })
      else { return nil }
      let mean = view.newest(MetricName.rewardMean) ?? 0
      let isConstant = view.all(MetricName.rewardStandardDeviation) { $0 == 0 }
      return Finding(
        what: "in each of \(view.records.count) steps the rewards within every group are equal; there is no gradient",
        causes: [
          isConstant
            ? .init(
              "every sample has the reward \(formatFixed(mean, 3))",
              remedy: "the task may be too easy, or the reward may not look at the answer; take harder prompts, or see "
                + "`softgrpo reward --explain`")
            : .init(
              "prompts are solved always or never",
              remedy: "raise rollout.group_size or rollout.temperature, or take prompts of medium difficulty")
        ])
    },
    WarningRule("truncated", "In 3 steps 95 % of the completions or more were cut at their budget.", steps: 3) { view in
      guard view.all(MetricName.completionLengthClipRatio, { $0 >= 0.95 }) else { return nil }
      return Finding(
        what:
          "\(percent(view.newest(MetricName.completionLengthClipRatio))) of the completions are cut at their budget",
        causes: [
          .init(
            "answers do not end within \(view.facts.answerBudget) tokens",
            remedy: "raise rollout.max_answer_tokens, or set rollout.answer_prefix so that the answer comes at once")
        ])
    },
    WarningRule(
      "thinking_never_ends", "In 3 steps no sample ended its thinking before its budget.", steps: 3,
      yieldsTo: [noReward]
    ) { view in
      guard view.facts.thinkingBudget > 0, view.all(MetricName.thinkingEndRatio, { $0 == 0 }) else { return nil }
      return Finding(what: "no sample ends its thinking by itself", causes: [causeOfEndlessThinking(view.facts)])
    },
    WarningRule("entropy_collapsed", "In 5 steps the entropy is below a tenth of the run's first steps'.", steps: 5) {
      view in
      let first = view.baseline.compactMap { $0.metrics[MetricName.entropy] }
      guard !first.isEmpty else { return nil }
      let mean = first.reduce(0, +) / Double(first.count)
      guard mean > 0, view.all(MetricName.entropy, { $0 < mean / 10 }) else { return nil }
      return Finding(
        what:
          "the entropy has fallen from \(formatFixed(mean, 3)) to \(formatFixed(view.newest(MetricName.entropy) ?? 0, 3))",
        causes: [
          .init(
            "the policy has become almost deterministic, and groups of equal samples teach nothing",
            remedy: "lower learner.learning_rate, raise learner.kl_coefficient or learner.clip_high, or go back to an "
              + "earlier checkpoint")
        ])
    },
    WarningRule("kl_rising", "In 5 steps the KL term is above 0.5 and rises.", steps: 5) { view in
      let values = view.values(MetricName.referenceKLLoss)
      guard view.all(MetricName.referenceKLLoss, { $0 > 0.5 }), zip(values, values.dropFirst()).allSatisfy({ $0 < $1 })
      else { return nil }
      return Finding(
        what: "the KL term against the starting weights rises: \(formatFixed(values[0], 2)) to "
          + formatFixed(values[values.count - 1], 2),
        causes: [
          .init(
            "the policy moves away from where it began faster than the KL term holds it",
            remedy: "lower learner.learning_rate, or raise learner.kl_coefficient; healthy runs stay below 0.5")
        ])
    },
    WarningRule("large_step", "In 3 steps an update moves the log-probs by more than 0.2 in the mean.", steps: 3) {
      view in
      guard view.all(MetricName.policyKL, { abs($0) > 0.2 }) else { return nil }
      return Finding(
        what: "each step moves the log-probs by \(formatFixed(view.newest(MetricName.policyKL) ?? 0, 2)) in the mean",
        causes: [
          .init(
            "the updates are too large for the clip to mean anything",
            remedy: "lower learner.learning_rate, or make fewer optimiser steps (a larger learner.mini_batch_size)")
        ])
    },
    WarningRule(
      "one_hot", "In 3 steps soft inputs are all but single tokens (mean largest weight above 0.99).", steps: 3
    ) {
      view in
      // Exactly 1 is discrete thinking, which means to be.
      guard view.all(MetricName.softnessLargestWeight, { $0 > 0.99 && $0 < 1 }) else { return nil }
      return Finding(
        what:
          "soft steps are all but single tokens: their largest weight is "
          + "\(formatFixed(view.newest(MetricName.softnessLargestWeight) ?? 1, 4)) in the mean",
        causes: [
          .init(
            "the mixtures have no room left, and the run is one in discrete tokens",
            remedy: "raise the temperatures of rollout.policy, and look at the mixtures with `softgrpo trace`")
        ])
    },
    WarningRule("mismatch", "Workers and learner disagree about probabilities by more than 0.05 in the mean.", steps: 1)
    {
      view in
      guard let mean = view.newest(MetricName.rolloutProbabilityDifferenceMean), mean > 0.05 else { return nil }
      return Finding(
        what: "workers' and learner's probabilities differ by \(formatFixed(mean, 3)) in the mean",
        causes: [
          .init(
            "workers compute otherwise than the learner: int8, another processor, or another build",
            remedy:
              "compare `softgrpo doctor --model` on both; set worker.dtype to auto; keep learner.importance_cap set")
        ])
    },
  ]

  /// Rules that look at time, not at records.
  public static let stall = "stalled"

  /// Every name that `run.stop_when` takes.
  public static let names = all.map(\.name) + [stall]

  // MARK: Causes

  static func causesOfZero(_ view: View) -> [RunWarning.Cause] {
    var causes: [RunWarning.Cause] = []
    if view.facts.thinkingBudget > 0, view.all(MetricName.thinkingEndRatio, { $0 == 0 }) {
      causes.append(causeOfEndlessThinking(view.facts))
    }
    if let share = view.newest(MetricName.unreadableAnswers), view.all(MetricName.unreadableAnswers, { $0 >= 0.5 }) {
      causes.append(
        .init(
          "in \(percent(share)) of the samples no answer could be read",
          remedy: "`softgrpo reward --explain` says what is looked for; ask for \\boxed{} in the prompt or the system "
            + "prompt, or set rollout.answer_prefix, as in \"\\nThe final answer is: \"; samples are in "
            + "\(view.facts.directory)/samples"))
    }
    if let share = view.newest(MetricName.completionLengthClipRatio),
      view.all(MetricName.completionLengthClipRatio, { $0 >= 0.5 })
    {
      causes.append(
        .init(
          "\(percent(share)) of the completions are cut at their budget of \(view.facts.answerBudget) answer tokens",
          remedy: "raise rollout.max_answer_tokens"))
    }
    if causes.isEmpty {
      causes.append(
        .init(
          "the answers can be read, and none is right",
          remedy:
            "the task may be too hard for the model: take easier prompts, raise rollout.group_size, or warm up with "
            + "sft; samples are in \(view.facts.directory)/samples, and `softgrpo reward --explain` says why they are wrong"
        ))
    }
    return causes
  }

  static func causeOfEndlessThinking(_ facts: RunFacts) -> RunWarning.Cause {
    if facts.canEndThinking {
      return .init(
        "no sample ended its thinking within \(facts.thinkingBudget) steps, so each answer begins in the middle of a thought",
        remedy: "raise rollout.max_thinking_tokens, or set rollout.answer_prefix, which leads over to the answer")
    }
    return .init(
      "no sample ended its thinking: the tokenizer has no </think>, so each answer begins in the middle of a thought",
      remedy: "set rollout.end_of_thinking_token to a token with which the model ends a text, such as <|im_end|>, and "
        + "rollout.answer_prefix to what leads over to the answer")
  }

  private static func percent(_ share: Double?) -> String { "\(formatFixed((share ?? 0) * 100, 0)) %" }
}
