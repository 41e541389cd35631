import Parameters

/// S-GRPO's reward of serial early exits (arXiv 2505.07686): along the exits of one thought, from the earliest to the full
/// thought, a correct exit has 1 / decay^(n - 1), n the correct exits so far with itself; a wrong one has 0. So an answer that is
/// right earlier is worth more, and what follows the first right exit less and less.
///
/// Shaping, not correctness: the value depends on the exits before it. Answers are judged by `reward.judge`.
public struct SerialExitReward: RewardFunction {
  public static let name = "serial_exit"
  public static let summary =
    "S-GRPO's reward of the exits of one thought: 1 for the first correct one, divided by `serial_exit_decay` with each further one."
  public static let parameters: [Parameter] = [
    .number("serial_exit_decay", 2, .atLeast(1), "Divides the reward of `serial_exit` with each correct exit."),
    .choice(
      "serial_exit_decay_by", "correct", of: ["correct", "index"],
      "What `serial_exit` counts: the correct exits so far, or all exits."),
  ]
  public static let role = RewardRole.shaping
  public static let scope = RewardScope.group
  public static let readsCorrectness = true

  /// What the exponent counts.
  public enum DecayBy: String, Sendable {
    case correct
    case index
  }

  private let decay: Double
  private let decayBy: DecayBy

  public init(_ values: ParameterValues) throws {
    decay = values.number("serial_exit_decay")
    decayBy = DecayBy(rawValue: values.text("serial_exit_decay_by")) ?? .correct
  }

  /// The rewards of exits.
  /// - Parameter correct: from the earliest exit to the full thought.
  public static func rewards(correct: [Bool], decay: Double = 2, decayBy: DecayBy = .correct) -> [Double] {
    var factor = 1.0
    return correct.map { isCorrect in
      let reward = isCorrect ? factor : 0
      if isCorrect || decayBy == .index { factor /= decay }
      return reward
    }
  }

  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    // A later exit has thought longer.
    let order = queries.indices.sorted {
      let (a, b) = (queries[$0], queries[$1])
      return (a.completion.thinkingLength, a.sampleIndex) < (b.completion.thinkingLength, b.sampleIndex)
    }
    var verdicts = [RewardVerdict](
      repeating: .notJudged(reason: "whether the exit is correct was not judged"), count: queries.count)
    let judged = order.filter { queries[$0].isCorrect != nil }
    let rewards = Self.rewards(correct: judged.map { queries[$0].isCorrect == true }, decay: decay, decayBy: decayBy)
    for (index, reward) in zip(judged, rewards) { verdicts[index] = .value(Float(reward)) }
    return verdicts
  }
}
