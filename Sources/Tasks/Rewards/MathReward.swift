import Parameters
import Verifier

/// 1 when the final answer is mathematically the reference answer, else 0.
public struct MathReward: CompletionReward {
  public static let name = "math"
  public static let summary = "1 when the completion's final answer equals the reference mathematically."
  public static let parameters: [Parameter] = []
  public static let role = RewardRole.correctness
  public static var weight: Parameter { .number(name, 1, .any, summary) }

  public var verifier: MathVerifier

  public init(_ values: ParameterValues) { self.init() }

  public init(verifier: MathVerifier = MathVerifier()) { self.verifier = verifier }

  public func referenceFault(_ answer: String) -> String? { MathVerifier.fault(inReference: answer) }

  public func hasAnswer(_ completion: Completion) -> Bool? {
    AnswerExtraction.finalAnswer(in: completion.text) != nil
  }

  public var ballot: Ballot? {
    Ballot(answer: { AnswerExtraction.finalAnswer(in: $0.completion.text) }, areEqual: MathVerifier.areEqual)
  }

  public func explanation(_ query: RewardQuery) -> String? {
    let found = verifier.explain(query.completion.text, answer: query.answer)
    let taken = found.extracted.map { "took \"\($0)\" (\(found.rule?.rawValue ?? "no rule"))" } ?? "found no answer"
    return "\(found.verdict.rawValue): \(taken); \(found.reason)"
  }

  public func reward(_ query: RewardQuery) -> Float {
    verifier.isCorrect(query.completion.text, answer: query.answer) ? 1 : 0
  }
}
