#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Train Long, Think Short (arXiv 2508.08940): a token budget that decays over training, B(t) = max(1, B0 gamma^floor(t
/// / interval)), and a reward that is highest when the budget is used up:
///
///     R_len = R_max l / B  (l <= B),   R_max (1 - (l - B) / B)  (B < l <= 2B),   0 beyond
///     R = w_correct c + w_length R_len + w_format f
///
/// A very short correct answer gets little: the length reward pays for *using* the budget.
///
/// Soft tokens: lengths count steps, soft and discrete alike.
public struct BudgetCurriculum: Sendable {
  public var initialBudget: Double
  public var gamma: Double
  /// Training steps of one budget.
  public var interval: Int
  /// R_max.
  public var maximum: Double
  public var correctWeight: Double
  public var lengthWeight: Double
  public var formatWeight: Double

  public init(
    initialBudget: Double = 256, gamma: Double = 0.7, interval: Int = 100, maximum: Double = 1,
    correctWeight: Double = 0.3, lengthWeight: Double = 0.6, formatWeight: Double = 0.1
  ) {
    self.initialBudget = initialBudget
    self.gamma = gamma
    self.interval = interval
    self.maximum = maximum
    self.correctWeight = correctWeight
    self.lengthWeight = lengthWeight
    self.formatWeight = formatWeight
  }

  /// B at a training step, from 0; not rounded.
  public func budget(step: Int) -> Double { max(1, initialBudget * pow(gamma, Double(step / max(interval, 1)))) }

  public func lengthReward(length: Int, budget: Double) -> Double {
    let length = Double(length)
    if length <= budget { return maximum * length / budget }
    return length <= 2 * budget ? maximum * (1 - (length - budget) / budget) : 0
  }

  /// - Parameter format: how well-formed the completion is, 0 to 1.
  public func reward(length: Int, isCorrect: Bool, format: Double, step: Int) -> Double {
    correctWeight * (isCorrect ? 1 : 0) + lengthWeight * lengthReward(length: length, budget: budget(step: step))
      + formatWeight * format
  }
}
