import Parameters
import SoftThinking

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

  private static func trimmed(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
    else {
      return []
    }
    return Array(bytes[first...last])
  }
}
