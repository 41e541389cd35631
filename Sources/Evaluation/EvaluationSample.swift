import Tasks
import Trajectories

/// What an evaluation keeps of a sample: every figure follows from these.
public struct EvaluationSample: Sendable, Equatable, Codable {
  /// Of the evaluation's prompts, from 0.
  public var prompt: Int
  public var promptID: String
  /// Of the prompt's samples, from 0.
  public var sample: Int
  /// The answer's text.
  public var text: String
  /// Everything after the prompt; the tokens that soft steps emitted stand for them.
  public var fullText: String
  /// What it votes for in maj@k; nil: it does not vote.
  public var answer: String?
  /// Nil: it could not be judged.
  public var isCorrect: Bool?
  /// Steps of thinking.
  public var thinkingLength: Int
  /// Steps in all.
  public var length: Int
  public var finish: FinishReason
  /// Sums over its thinking steps.
  public var softness: Softness

  private enum CodingKeys: String, CodingKey {
    case prompt, sample, text, answer, length, finish, softness
    case promptID = "prompt_id"
    case fullText = "full_text"
    case isCorrect = "correct"
    case thinkingLength = "thinking_length"
  }

  init(_ query: RewardQuery, softness: Softness, answer: String?, isCorrect: Bool?) {
    prompt = query.group
    promptID = query.promptID
    sample = query.sampleIndex
    text = query.completion.text
    fullText = query.completion.fullText
    self.answer = answer
    self.isCorrect = isCorrect
    thinkingLength = query.completion.thinkingLength
    length = query.completion.length
    finish = query.completion.finishReason
    self.softness = softness
  }
}
