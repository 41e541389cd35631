import Foundation
import Kernels
import ModelFiles
import Observability
import Rollouts
import RunConfiguration
import SoftThinking
import Tasks
import Tokenization
import Training
import Transformer
import WeightSync
import Wire

/// What a run trains, and on what terms: weights, text, sampling options and rewards.
public final class TrainingSubject {
  public var state: any TrainableState
  public let text: TextInterface
  /// Longest sequence of the run, in positions.
  public let positions: Int
  private let configuration: RunConfiguration
  private let rewards: WeightedRewards
  private let sampling: Wire.SamplingOptions
  /// The weights the run began with: the KL term's reference.
  private let source: ModelSource?

  /// Opens `model.path`, or makes the tiny model of the configuration with fresh weights.
  ///
  /// - Throws: an error naming the file or key.
  public init(_ configuration: RunConfiguration) throws {
    self.configuration = configuration
    if let path = configuration.model.path {
      let loaded = try LoadedModel(
        path: path, rendering: PromptRendering(configuration.model),
        endOfThinkingToken: configuration.rollout.endOfThinkingToken)
      source = loaded.source
      text = loaded.textInterface
      if let options = configuration.adapterOptions {
        state = AdapterState(
          base: try ModelWeights(source: loaded.source), options: options, seed: UInt64(configuration.run.seed))
      } else {
        state = try LearnerState(source: loaded.source)
      }
    } else {
      guard configuration.task.kind == .multiply else {
        throw ClusterError(
          "model.path: is not set; only `task.kind: multiply` can train the tiny model that is made on the spot")
      }
      source = nil
      text = try .multiply()
      let layout = ParameterLayout(try Self.tinyModel(configuration, text: text))
      // Adapters on fresh weights would learn nothing, so under LoRA a warm-up trains the tiny model whole, and the adapters
      // come after it.
      state = LearnerState(layout: layout, values: randomWeights(layout: layout, seed: UInt64(configuration.run.seed)))
    }
    rewards = try Self.rewards(configuration)
    let rollout = configuration.rollout
    let tokenizer = text.tokenizer
    let prefix = try rollout.answerPrefix.map { try tokenizer.encode($0) } ?? []
    sampling = Wire.SamplingOptions(
      maxThinkingTokens: rollout.maxThinkingTokens, endOfThinkingTokenIDs: text.endOfThinkingTokens,
      forceEndTokenID: text.endOfThinkingTokens.first, answerPrefixTokenIDs: prefix,
      maxAnswerTokens: rollout.maxAnswerTokens, stopTokenIDs: text.stopTokens,
      answerTemperature: Float(rollout.answerTemperature), answerTopK: rollout.answerTopK,
      answerTopP: Float(rollout.answerTopP))
    let completion = rollout.maxThinkingTokens + 1 + prefix.count + rollout.maxAnswerTokens
    let context = state.layout.configuration.contextLength
    guard completion < context else {
      throw ClusterError(
        "rollout.max_thinking_tokens + rollout.max_answer_tokens: a completion of up to \(completion) tokens leaves no room for a "
          + "prompt in the model's context of \(context)")
    }
    positions = min(context, configuration.task.maxPromptLength + completion)
  }

  /// Whether the supervised warm-up trains every weight although adapters are to be trained afterwards.
  var warmsUpWhole: Bool { configuration.adapterOptions != nil && source == nil }

  /// Freezes `weights` and puts fresh adapters on them, where the configuration asks for adapters and they are not there yet.
  func adapt(_ weights: ModelWeights) {
    guard let options = configuration.adapterOptions, !(state is AdapterState) else { return }
    state = AdapterState(base: weights, options: options, seed: UInt64(configuration.run.seed))
  }

  /// The adapters and what a checkpoint must say of them to be taken up by them.
  ///
  /// - Throws: `ClusterError` when every weight is trained.
  func adapterRecord(team: ThreadTeam) throws -> (state: AdapterState, record: RunState.AdapterRecord) {
    guard let state = state as? AdapterState else {
      throw ClusterError("lora.rank: the run has no adapters to resume")
    }
    return (state, record(of: state, base: state.base.baseSnapshot(team: team)))
  }

  func record(of state: AdapterState, base: WeightSnapshot) -> RunState.AdapterRecord {
    RunState.AdapterRecord(options: state.adapterLayout.options, baseRoot: base.description.root.hexadecimal)
  }

  /// The name of the model that adapters belong to, for PEFT.
  func adapterBase(supervised: String) -> String? {
    configuration.model.path ?? (configuration.sft.enabled ? supervised : nil)
  }

  private static func tinyModel(_ configuration: RunConfiguration, text: TextInterface) throws -> ModelConfiguration {
    let tiny = configuration.model.tiny
    guard tiny.hiddenSize % tiny.heads == 0 else {
      throw ClusterError("model.tiny.hidden_size: must be a multiple of heads = \(tiny.heads), got \(tiny.hiddenSize)")
    }
    let made = ModelConfiguration(
      architecture: .llama, hiddenSize: tiny.hiddenSize, layerCount: tiny.layers, headCount: tiny.heads,
      keyValueHeadCount: tiny.keyValueHeads, headDimension: tiny.hiddenSize / tiny.heads,
      intermediateSize: tiny.intermediateSize, vocabularySize: text.tokenizer.vocabularySize, contextLength: 128,
      ropeTheta: tiny.ropeTheta, rmsNormEpsilon: 1e-5, tiedEmbeddings: true,
      bosTokenID: text.tokenizer.tokenID(of: "<bos>").map(Int.init), eosTokenIDs: text.stopTokens.map(Int.init))
    try made.validate(path: "model.tiny")
    return made
  }

  static func rewards(_ configuration: RunConfiguration) throws -> WeightedRewards {
    let weights = configuration.reward
    var parts: [WeightedRewards.Part] = []
    if weights.math != 0 { parts.append(.init(name: "math", weight: Float(weights.math), function: MathReward())) }
    if weights.exact != 0 { parts.append(.init(name: "exact", weight: Float(weights.exact), function: ExactReward())) }
    if weights.format != 0 {
      parts.append(.init(name: "format", weight: Float(weights.format), function: FormatReward()))
    }
    if weights.overlong != 0 {
      let longest = configuration.rollout.maxThinkingTokens + configuration.rollout.maxAnswerTokens
      parts.append(
        .init(
          name: "overlong", weight: Float(weights.overlong),
          function: try LengthPenalty(maximumLength: longest, bufferLength: weights.overlongBuffer)))
    }
    return try WeightedRewards(parts)
  }

  /// What goes beside the weights of a checkpoint.
  public var checkpointTokenizer: CheckpointWriter.Tokenizer { text.checkpointTokenizer }

  /// The weights the run began with, as at its first start.
  ///
  /// - Throws: when the model's file has changed or is gone.
  func referenceWeights(supervised: String, team: ThreadTeam) throws -> ModelWeights {
    // A warm-up of adapters is part of what reinforcement began with; otherwise that is their base.
    if let adapted = state as? AdapterState, warmsUpWhole || !configuration.sft.enabled { return adapted.base }
    if FileManager.default.fileExists(atPath: supervised + "/config.json") {
      return try ModelWeights(source: ModelSource.open(path: supervised))
    }
    if let source { return try ModelWeights(source: source) }
    return LearnerState(
      layout: state.layout,
      values: randomWeights(layout: state.layout, seed: UInt64(configuration.run.seed))
    ).roundedWeights(team: team)
  }

  /// The prompt as work for the cluster.
  ///
  /// - Throws: `ClusterError` naming the prompt when it is longer than `task.max_prompt_length` or does not fit.
  func group(_ prompt: Prompt, ordinal: Int) throws -> PromptGroup {
    PromptGroup(
      ordinal: ordinal, promptID: prompt.id, prompt: try promptTokens(prompt),
      sampleCount: configuration.rollout.groupSize, policy: configuration.rollout.thinkingPolicy, options: sampling,
      noiseSeed: UInt64(configuration.run.seed))
  }

  /// The run's sampling options as the engine takes them.
  var engineOptions: Rollouts.SamplingOptions { Rollouts.SamplingOptions(sampling) }

  func promptTokens(_ prompt: Prompt) throws -> [Int32] {
    let tokens = try text.encodePrompt(prompt)
    let limit = min(configuration.task.maxPromptLength, positions - (longestCompletion))
    guard !tokens.isEmpty else { throw ClusterError("prompt \(prompt.id): is empty") }
    guard tokens.count <= limit else {
      throw ClusterError(
        "prompt \(prompt.id): \(tokens.count) tokens, but at most \(limit) are allowed (task.max_prompt_length "
          + "\(configuration.task.maxPromptLength), context \(state.layout.configuration.contextLength) less a completion of up to "
          + "\(longestCompletion)): shorten or remove it, or raise the limit")
    }
    return tokens
  }

  private var longestCompletion: Int {
    sampling.maxThinkingTokens + 1 + sampling.answerPrefixTokenIDs.count + sampling.maxAnswerTokens
  }

  func completion(_ trajectory: Trajectory) -> Completion { text.completion(trajectory) }

  func reward(_ trajectory: Trajectory, answer: String) -> Float {
    rewards.reward(completion: completion(trajectory), answer: answer)
  }

  func textSample(_ trajectory: Trajectory, prompt: Prompt) -> TextSample {
    let completion = completion(trajectory)
    let thinking =
      completion.fullText.hasSuffix(completion.text)
      ? String(completion.fullText.dropLast(completion.text.count)) : completion.fullText
    return TextSample(
      promptID: trajectory.promptID, sampleIndex: trajectory.sampleIndex, reward: trajectory.reward.map(Double.init),
      finishReason: trajectory.finishReason.rawValue, prompt: prompt.text, thinking: thinking, answer: completion.text,
      reference: prompt.answer)
  }

  // MARK: Supervised examples

  /// A generated thought in the form in which the policy will think: thought, end token, forced prefix, answer, stop.
  func example(generated: GeneratedExample) throws -> SupervisedExample {
    let prompt = try text.encodePrompt(generated.prompt)
    var thought = try text.tokenizer.encode(generated.thought)
    if let end = text.endOfThinkingTokens.first { thought.append(end) }
    var answer = try text.tokenizer.encode(generated.answer)
    if let stop = text.stopTokens.first { answer.append(stop) }
    var segments: [Segment] = [.discrete(DiscreteSegment(tokenIDs: thought))]
    if !sampling.answerPrefixTokenIDs.isEmpty { segments.append(.forced(sampling.answerPrefixTokenIDs)) }
    segments.append(.discrete(DiscreteSegment(tokenIDs: answer)))
    return SupervisedExample(prompt: prompt, segments: segments)
  }

  /// A completion of a file, learned whole, with a stop token after it.
  func example(prompt: Prompt, completion: String) throws -> SupervisedExample {
    var tokens = try text.tokenizer.encode(completion)
    if let stop = text.stopTokens.first, tokens.last != stop { tokens.append(stop) }
    return SupervisedExample(prompt: try text.encodePrompt(prompt), completion: tokens)
  }
}
