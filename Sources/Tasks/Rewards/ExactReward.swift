import Parameters
import Thinking
import Verifier

/// 1 when the text after the thinking is the reference answer, letter for letter but for surrounding white space, and the
/// completion ended by itself.
public struct ExactReward: CompletionReward {
  public static let name = "exact"
  public static let summary = "1 when the answer's text equals the reference after trimming."
  public static let parameters: [Parameter] = []
  public static let role = RewardRole.correctness

  public init(_ values: ParameterValues = ParameterValues()) {}

  public func reward(_ query: RewardQuery) -> Float {
    query.completion.finishReason == .stop && Self.trimmed(query.completion.text) == Self.trimmed(query.answer) ? 1 : 0
  }

  public func hasAnswer(_ completion: Completion) -> Bool? { !Self.trimmed(completion.text).isEmpty }

  /// A completion that was cut off is never right, and does not vote.
  public var ballot: Ballot? {
    Ballot(
      answer: { query in
        guard query.completion.finishReason == .stop else { return nil }
        let text = Self.trimmed(query.completion.text)
        return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
      },
      areEqual: { $0.utf8.elementsEqual($1.utf8) })
  }

  private static func trimmed(_ text: String) -> ArraySlice<UInt8> { AnswerExtraction.trimmed(Array(text.utf8)[...]) }
}
