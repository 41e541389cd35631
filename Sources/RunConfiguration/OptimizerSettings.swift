/// AdamW and its schedule: the keys of the `learner` section that say how a gradient becomes new weights.
public struct OptimizerSettings: Sendable, Equatable {
  public enum Schedule: String, Sendable, CaseIterable {
    case constant, linear, cosine
  }

  /// AdamW's peak learning rate.
  public var learningRate = 1e-6
  public var adamBeta1 = 0.9
  public var adamBeta2 = 0.999
  public var adamEpsilon = 1e-8
  public var weightDecay = 0.01
  /// The gradient's norm is scaled down to this; 0: never.
  public var maxGradNorm = 1.0
  public var lrSchedule = Schedule.constant
  /// Steps over which the learning rate rises from 0.
  public var warmupSteps = 0
  /// Share of the peak learning rate that `linear` and `cosine` end at.
  public var minLRRatio = 0.0

  public init() {}

  func check(_ rules: inout Rules, totalSteps: Int) {
    rules.require(
      warmupSteps <= totalSteps,
      "learner.warmup_steps: must be at most run.total_steps = \(totalSteps), got \(warmupSteps)")
    rules.require(
      lrSchedule == .constant || warmupSteps < totalSteps,
      "learner.warmup_steps: must be below run.total_steps = \(totalSteps) when lr_schedule is \(lrSchedule.rawValue), got \(warmupSteps)"
    )
  }
}

extension OptimizerSettings: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .number("learning_rate", \.learningRate, .between(0, 1)),
      .number("adam_beta1", \.adamBeta1, .from(0, below: 1)),
      .number("adam_beta2", \.adamBeta2, .from(0, below: 1)),
      .number("adam_epsilon", \.adamEpsilon, .above(0)),
      .number("weight_decay", \.weightDecay, .atLeast(0)),
      .number("max_grad_norm", \.maxGradNorm, .atLeast(0)),
      .choice("lr_schedule", \.lrSchedule),
      .integer("warmup_steps", \.warmupSteps, 0...1_000_000_000),
      .number("min_lr_ratio", \.minLRRatio, .between(0, 1)),
    ]
  }
}
