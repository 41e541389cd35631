/// How a gradient is applied: the settings of the optimiser, one field per config key of the `learner` section.
public struct UpdateOptions: Sendable, Equatable, Hashable, Codable {
  /// `learning_rate`, `beta1`, `beta2`, `epsilon`, `weight_decay`
  public var optimizer: AdamW
  /// `learning_rate_schedule`, `warmup_steps`, `total_steps`, `min_learning_rate_ratio`
  public var schedule: LearningRateSchedule
  /// `max_grad_norm`: the gradient is scaled down to this norm; 0: never.
  public var maxGradientNorm: Double

  public init(
    optimizer: AdamW = AdamW(), schedule: LearningRateSchedule = LearningRateSchedule(), maxGradientNorm: Double = 1
  ) {
    self.optimizer = optimizer
    self.schedule = schedule
    self.maxGradientNorm = maxGradientNorm
  }

  /// The optimiser as it is at `step` (counted from 0): the schedule applied to its learning rate.
  public func optimizer(at step: Int) -> AdamW {
    var result = optimizer
    result.learningRate *= schedule.factor(step: step)
    return result
  }

  /// - Parameter section: prefix of the keys in messages.
  /// - Throws: `OptimizationError` naming the first key whose value is out of range.
  public func validate(section: String = "learner") throws {
    let check = RangeCheck(section: section)
    // 0 is legal: a run at learning rate 0 measures noise and mismatch.
    try check("learning_rate", optimizer.learningRate, "in [0, 1]") { $0 >= 0 && $0 <= 1 }
    try check("beta1", optimizer.beta1, "in [0, 1)") { $0 >= 0 && $0 < 1 }
    try check("beta2", optimizer.beta2, "in [0, 1)") { $0 >= 0 && $0 < 1 }
    try check("epsilon", optimizer.epsilon, "positive and representable as a float") {
      Float($0) > 0 && Float($0).isFinite
    }
    try check("weight_decay", optimizer.weightDecay, "at least 0") { $0 >= 0 }
    try check("max_grad_norm", maxGradientNorm, "at least 0") { $0 >= 0 }
    try check("warmup_steps", schedule.warmupSteps, "at least 0") { $0 >= 0 }
    try check("min_learning_rate_ratio", schedule.minimumRatio, "in [0, 1]") { $0 >= 0 && $0 <= 1 }
    if schedule.shape != .constant {
      try check(
        "total_steps", schedule.totalSteps,
        "above warmup_steps (\(schedule.warmupSteps)) for a \(schedule.shape.rawValue) schedule"
      ) { $0 > schedule.warmupSteps }
    }
  }
}

/// Range checks that name the config key and quote the value.
struct RangeCheck {
  var section: String

  func callAsFunction(_ key: String, _ value: Double, _ requirement: String, _ holds: (Double) -> Bool) throws {
    guard value.isFinite, holds(value) else { throw failure(key, requirement, Self.text(value)) }
  }

  func callAsFunction(_ key: String, _ value: Int, _ requirement: String, _ holds: (Int) -> Bool) throws {
    guard holds(value) else { throw failure(key, requirement, String(value)) }
  }

  private func failure(_ key: String, _ requirement: String, _ value: String) -> OptimizationError {
    OptimizationError("\(section.isEmpty ? "" : section + ".")\(key): must be \(requirement), got \(value)")
  }

  /// 2 rather than 2.0: what the user wrote.
  private static func text(_ value: Double) -> String {
    if let integer = Int(exactly: value), abs(integer) < 1_000_000 { return String(integer) }
    return String(value)
  }
}
