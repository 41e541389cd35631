import Parameters

/// DAPO's soft overlong punishment (arXiv 2503.14476, equation 13): 0 up to `L - buffer` steps, L the longest completion
/// that the budgets allow, from there linearly down to -1 at L, -1 beyond.
public struct OverlongReward: CompletionReward {
  public static let name = "overlong"
  public static let summary =
    "DAPO's soft penalty: 0 until the last `overlong_buffer` tokens of the budget, falling to -1 at its end."
  public static let parameters: [Parameter] = [
    .integer("overlong_buffer", 0, 0...1_048_576, "Tokens over which `overlong` grows.")
  ]
  public static let role = RewardRole.shaping
  public static var weight: Parameter { .number(name, 0, .atLeast(0), summary) }

  public let bufferLength: Int

  public init(_ values: ParameterValues) { bufferLength = values.integer("overlong_buffer") }

  public func validate(longestCompletion: Int) throws {
    guard (1...max(1, longestCompletion)).contains(bufferLength) else {
      throw ParameterError(
        "overlong_buffer: must be 1 to max_thinking_tokens + max_answer_tokens = \(longestCompletion) when reward.overlong is "
          + "not 0, got \(bufferLength)")
    }
  }

  public func reward(_ query: RewardQuery) -> Float {
    overlongPenalty(
      length: query.completion.length, maximumLength: query.longestCompletion, bufferLength: bufferLength)
  }
}
