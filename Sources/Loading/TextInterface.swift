import Foundation
import Logging
import ModelFiles
import RunConfiguration
import Tasks
import Thinking
import Tokenization
import Trajectories

/// How a run's model reads and writes text: tokenizer, chat template, and the tokens that end thinking and answers.
public struct TextInterface: Sendable {
  public var tokenizer: Tokenizer
  /// Renders a prompt as the model expects it.
  public var encodePrompt: @Sendable (Prompt) throws -> [Int32]
  /// A prompt as the model reads it, for people; nil where prompts are no text for a template.
  public var preview: (@Sendable (Prompt) throws -> RenderedPrompt)?
  /// Thinking ends with one of these; empty: with its budget.
  public var endOfThinkingTokens: [Int32]
  /// An answer ends with one of these.
  public var stopTokens: [Int32]
  /// What goes beside the weights of a checkpoint.
  public var checkpointTokenizer: CheckpointWriter.Tokenizer

  /// The usual course of a completion under a `rollout` section.
  ///
  /// - Throws: `TokenizationError` for an answer prefix that the vocabulary cannot spell.
  public func plan(_ rollout: RolloutSection) throws -> CompletionPlan {
    CompletionPlan(
      thinking: rollout.maxThinkingTokens, endOfThinkingTokens: endOfThinkingTokens,
      answerPrefix: try rollout.answerPrefix.map { try tokenizer.encode($0) } ?? [],
      answer: DiscreteSampling(
        temperature: Float(rollout.answerTemperature), topK: rollout.answerTopK, topP: Float(rollout.answerTopP)),
      maxAnswerTokens: rollout.maxAnswerTokens, stopTokens: stopTokens)
  }

  /// Logs one prompt whole, as the model reads it.
  package func show(_ prompt: Prompt?, _ logger: Logger) throws {
    guard let prompt, let shown = try preview?(prompt) else { return }
    logger.info("the model reads prompt \(prompt.id) as these \(shown.tokenCount) tokens:\n\(shown.display)")
    if let warning = shown.warning { logger.warning("\(warning)") }
  }

  /// Whether a token that was sampled ended the thinking, not its budget.
  package func endsThinking(_ trajectory: Trajectory) -> Bool {
    // The last discrete segment is the answer.
    trajectory.segments.dropLast().contains { segment in
      if case .discrete(let thinking) = segment {
        thinking.tokenIDs.contains(where: endOfThinkingTokens.contains)
      } else {
        false
      }
    }
  }

  /// What a trajectory says: the answer with its forced prefix, the emitted tokens, lengths.
  ///
  /// The last discrete segment is the answer, with what of the forced run before it follows an end of thinking; all before that
  /// is the thinking.
  public func completion(_ trajectory: Trajectory) -> Completion {
    var segments = trajectory.segments
    var answer: [Int32] = []
    if case .discrete(let last)? = segments.last {
      answer = last.tokenIDs
      segments.removeLast()
      if case .forced(let prefix)? = segments.last {
        let start = prefix.lastIndex { endOfThinkingTokens.contains($0) }.map { $0 + 1 } ?? 0
        answer = prefix[start...] + answer
        segments.removeLast()
      }
    }
    var thinking = 0
    for segment in segments {
      switch segment {
      case .soft, .replayed(.soft): thinking += segment.count
      case .discrete(let discrete): thinking += discrete.tokenIDs.count { !endOfThinkingTokens.contains($0) }
      case .replayed(.tokens(let tokenIDs)): thinking += tokenIDs.count { !endOfThinkingTokens.contains($0) }
      case .forced: break
      }
    }
    return Completion(
      text: tokenizer.decode(answer, skipSpecialTokens: true), fullText: tokenizer.decode(trajectory.emittedTokens),
      thinkingLength: thinking, length: trajectory.completionCount, finishReason: trajectory.finishReason)
  }
}

extension TextInterface {
  /// A token for each symbol of a generated task.
  package init(_ symbols: TaskSymbols) throws {
    let json = try CharacterLevelTokenizer.tokenizerJSON(
      characters: symbols.characters, specialTokens: symbols.special)
    var configuration = TokenizerConfiguration()
    configuration.beginningOfSequenceToken = "<bos>"
    configuration.endOfSequenceToken = "<eos>"
    configuration.paddingToken = "<pad>"
    let tokenizer = try Tokenizer(tokenizerJSON: json, configuration: configuration, fileName: "tokenizer.json")
    let files = ["tokenizer.json": Data(json), "tokenizer_config.json": Data(configuration.json())]
    self.init(
      tokenizer: tokenizer, encodePrompt: { try tokenizer.encode($0.text) }, preview: nil,
      endOfThinkingTokens: [try tokenizer.requireToken(TaskSymbols.endOfThinking)],
      stopTokens: [try tokenizer.requireToken(TaskSymbols.stop)], checkpointTokenizer: .files(files))
  }
}

extension Trajectory {
  /// One token per scored step: of a soft step, the one with the largest weight.
  package var scoredTokens: [Int32] {
    segments.flatMap { segment -> [Int32] in
      switch segment {
      case .soft(let soft): (0..<soft.count).compactMap { soft.tokenIDs[$0].first }
      case .discrete(let discrete): discrete.tokenIDs
      case .forced, .replayed: []
      }
    }
  }

  /// One token per position after the prompt: of a soft step, the one with the largest weight.
  public var emittedTokens: [Int32] {
    segments.flatMap { segment -> [Int32] in
      switch segment {
      case .soft(let soft), .replayed(.soft(let soft)): (0..<soft.count).compactMap { soft.tokenIDs[$0].first }
      case .discrete(let discrete): discrete.tokenIDs
      case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): tokenIDs
      }
    }
  }
}
