/// Supervised warm-up before reinforcement: AdamW with a cosine schedule on prompt and completion pairs.
public struct SupervisedSection: Sendable, Equatable {
  /// Whether `softgrpo train` warms up first.
  public var enabled = false
  /// JSONL of examples; null: the task generates them.
  public var examples: String?
  public var promptField = "prompt"
  public var completionField = "completion"
  public var steps = 750
  /// Examples of a step.
  public var batchSize = 32
  public var learningRate = 2e-5
  public var warmupSteps = 30
  /// Share of the peak learning rate at the last step.
  public var minLRRatio = 0.1
  public var adamBeta1 = 0.9
  public var adamBeta2 = 0.95
  public var weightDecay = 0.01
  /// The gradient's norm is scaled down to this; 0: never.
  public var maxGradNorm = 1.0

  public init() {}
}

extension SupervisedSection {
  func check(_ rules: inout Rules) {
    rules.require(
      !enabled || warmupSteps <= steps,
      "sft.warmup_steps: must be at most sft.steps = \(steps), got \(warmupSteps)")
  }
}

extension SupervisedSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .flag("enabled", \.enabled),
      .optionalText("examples", \.examples),
      .text("prompt_field", \.promptField),
      .text("completion_field", \.completionField),
      .integer("steps", \.steps, 1...1_000_000_000),
      .integer("batch_size", \.batchSize, 1...65_536),
      .number("learning_rate", \.learningRate, .above(0, upTo: 1)),
      .integer("warmup_steps", \.warmupSteps, 0...1_000_000_000),
      .number("min_lr_ratio", \.minLRRatio, .between(0, 1)),
      .number("adam_beta1", \.adamBeta1, .from(0, below: 1)),
      .number("adam_beta2", \.adamBeta2, .from(0, below: 1)),
      .number("weight_decay", \.weightDecay, .atLeast(0)),
      .number("max_grad_norm", \.maxGradNorm, .atLeast(0)),
    ]
  }
}
