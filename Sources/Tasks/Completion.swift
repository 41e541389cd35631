import Trajectories

/// What a reward function sees of a trajectory, as text.
public struct Completion: Sendable, Equatable {
  /// The decoded part after the thinking, an injected answer prefix included; empty when the thinking never ended.
  public var text: String
  /// Everything after the prompt, thoughts included.
  public var fullText: String
  /// Steps of thinking.
  public var thinkingLength: Int
  /// Steps in all.
  public var length: Int
  public var finishReason: FinishReason

  public init(
    text: String, fullText: String? = nil, thinkingLength: Int = 0, length: Int = 0, finishReason: FinishReason = .stop
  ) {
    self.text = text
    self.fullText = fullText ?? text
    self.thinkingLength = thinkingLength
    self.length = length
    self.finishReason = finishReason
  }
}
