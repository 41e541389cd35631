import Parameters
import Thinking
import Verifier

/// 1 when the thinking ended, an answer followed it and the completion ended by itself, else 0.
public struct FormatReward: CompletionReward {
  public static let name = "format"
  public static let summary = "1 when the thinking was closed and an answer follows."
  public static let parameters: [Parameter] = []
  public static let role = RewardRole.shaping

  public init(_ values: ParameterValues = ParameterValues()) {}

  public func reward(_ query: RewardQuery) -> Float {
    query.completion.finishReason == .stop && !AnswerExtraction.trimmed(Array(query.completion.text.utf8)[...]).isEmpty
      ? 1 : 0
  }
}
