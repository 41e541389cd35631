import Foundation
import FrontEnd
import Kernels
import Loading
import ModelFiles
import Observability
import Rollouts
import RunConfiguration
import Sessions
import Tasks
import Thinking
import Tokenization
import Training
import Trajectories
import Transformer
import Updates
import WeightSync
import Wire

/// What a run trains, and on what terms: weights, text, sampling options and rewards.
public final class TrainingSubject {
  public var state: any TrainableState
  public let text: TextInterface
  /// Longest sequence of the run, in positions.
  public let positions: Int
  private let configuration: RunConfiguration
  package let rewards: RewardSum
  /// The usual course of a completion.
  package let plan: CompletionPlan
  /// As at the beginning of a run.
  let scheduler: any PromptScheduler
  /// Forced before the answer.
  private let answerPrefix: [Int32]
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
      try ModelMemory.checkTraining(
        loaded.source.configuration, isAdapted: configuration.adapterOptions != nil)
      source = loaded.source
      text = loaded.textInterface
      if let options = configuration.adapterOptions {
        state = AdapterState(
          base: try ModelWeights(source: loaded.source), options: options, seed: UInt64(configuration.run.seed))
      } else {
        state = try LearnerState(source: loaded.source)
      }
    } else {
      guard let symbols = try PromptSource.generatedTask(configuration.task)?.symbols else {
        throw RoleError(
          "model.path: is not set; only `task.kind: multiply` and `maze` can train the tiny model that is made on the spot"
        )
      }
      source = nil
      text = try TextInterface(symbols)
      let layout = ParameterLayout(try Self.tinyModel(configuration, text: text))
      // Adapters on fresh weights would learn nothing, so under LoRA a warm-up trains the tiny model whole, and the adapters
      // come after it.
      state = LearnerState(layout: layout, values: Self.freshWeights(layout, configuration))
    }
    rewards = try configuration.rewards()
    let rollout = configuration.rollout
    let tokenizer = text.tokenizer
    let prefix = try rollout.answerPrefix.map { try tokenizer.encode($0) } ?? []
    plan = try text.plan(rollout)
    answerPrefix = prefix
    let context = SchedulerContext(
      plan: plan, policy: try rollout.thinkingPolicy(), groupSize: rollout.groupSize,
      seed: UInt64(configuration.run.seed), endOfThinkingTokens: text.endOfThinkingTokens,
      encode: { try tokenizer.encode($0) })
    do { scheduler = try SchedulerRegistry.make(rollout.schedulerPart(), context) } catch {
      throw RoleError("rollout.\(error)")
    }
    let completion = scheduler.longestCompletion
    let contextLength = state.layout.configuration.contextLength
    guard completion < contextLength else {
      throw RoleError(
        "rollout.max_thinking_tokens + rollout.max_answer_tokens: a completion of up to \(completion) tokens leaves no room for a "
          + "prompt in the model's context of \(contextLength)")
    }
    // An evaluated policy may have longer budgets than the run. One that cannot be sampled is refused where it is evaluated.
    let evaluated = configuration.eval.policies.compactMap { [text] in
      (try? $0.rollout(over: rollout)).flatMap { try? text.plan($0).longestCompletion }
    }
    positions = min(
      contextLength, configuration.task.maxPromptLength + max(completion, evaluated.max() ?? completion))
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
  /// - Throws: `RoleError` when every weight is trained.
  func adapterRecord(team: ThreadTeam) throws -> (state: AdapterState, record: RunState.AdapterRecord) {
    guard let state = state as? AdapterState else {
      throw RoleError("lora.rank: the run has no adapters to resume")
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

  private static func freshWeights(_ layout: ParameterLayout, _ configuration: RunConfiguration) -> [Float] {
    let tiny = configuration.model.tiny
    return randomWeights(
      layout: layout, seed: UInt64(configuration.run.seed), deviation: tiny.initialStd,
      embeddingDeviation: tiny.embeddingStd)
  }

  private static func tinyModel(_ configuration: RunConfiguration, text: TextInterface) throws -> ModelConfiguration {
    let tiny = configuration.model.tiny
    guard tiny.hiddenSize % tiny.heads == 0 else {
      throw RoleError("model.tiny.hidden_size: must be a multiple of heads = \(tiny.heads), got \(tiny.hiddenSize)")
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
    return LearnerState(layout: state.layout, values: Self.freshWeights(state.layout, configuration))
      .roundedWeights(team: team)
  }

  /// A group as work for the cluster.
  ///
  /// - Parameter version: the learner's version when it will train on the group.
  /// - Throws: `RoleError` naming the prompt when it is longer than `task.max_prompt_length` or does not fit.
  func group(_ request: StepGroups.Request, due version: Int) throws -> PromptGroup {
    PromptGroup(
      ordinal: request.ordinal, promptID: request.prompt.id, prompt: try promptTokens(request.prompt),
      sampleCount: request.sampleCount, policy: try configuration.rollout.thinkingPolicy(atVersion: version),
      plan: request.plan, noiseSeed: UInt64(configuration.run.seed))
  }

  private var longestPrompt: Int { min(configuration.task.maxPromptLength, positions - longestCompletion) }

  /// Whether a prompt is longer than the run allows; `task.overlong_prompts` says what becomes of it then.
  ///
  /// - Throws: what encoding it throws.
  package func isOverlong(_ prompt: Prompt) throws -> Bool { try text.encodePrompt(prompt).count > longestPrompt }

  package func promptTokens(_ prompt: Prompt) throws -> [Int32] {
    let tokens = try text.encodePrompt(prompt)
    let limit = longestPrompt
    guard !tokens.isEmpty else { throw RoleError("prompt \(prompt.id): is empty") }
    guard tokens.count <= limit else {
      throw RoleError(
        "prompt \(prompt.id): \(tokens.count) tokens, but at most \(limit) are allowed (task.max_prompt_length "
          + "\(configuration.task.maxPromptLength), context \(state.layout.configuration.contextLength) less a completion of up to "
          + "\(longestCompletion)): shorten or remove it, raise the limit, or set task.overlong_prompts to skip")
    }
    return tokens
  }

  private var longestCompletion: Int { scheduler.longestCompletion }

  var thinkingBudget: Int { configuration.rollout.maxThinkingTokens }

  /// What the rules of warnings know of the run.
  func facts(directory: String) -> RunFacts {
    RunFacts(
      thinkingBudget: configuration.rollout.maxThinkingTokens, answerBudget: configuration.rollout.maxAnswerTokens,
      canEndThinking: !text.endOfThinkingTokens.isEmpty, directory: directory)
  }

  package func completion(_ trajectory: Trajectory) -> Completion { text.completion(trajectory) }

  /// A trajectory as the rewards see it.
  func query(_ trajectory: Trajectory, prompt: Prompt) -> RewardQuery {
    RewardQuery(
      promptID: prompt.id, question: prompt.text, answer: prompt.answer, fields: prompt.fields,
      completion: completion(trajectory),
      group: trajectory.groupID, sampleIndex: trajectory.sampleIndex,
      longestCompletion: configuration.rollout.maxThinkingTokens + configuration.rollout.maxAnswerTokens)
  }

  /// Why nothing can be compared with a reference answer; nil when it can be.
  func referenceFault(_ answer: String) -> String? { rewards.referenceFault(answer) }

  /// What a run says at its start of the reference answers of a file that cannot be read; nil when all can be.
  func referenceNotice(_ prompts: [Prompt], path: String) -> String? {
    UnreadableReference.notice(rewards.unreadableReferences(prompts), path: path, count: prompts.count)
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
    if !answerPrefix.isEmpty { segments.append(.forced(answerPrefix)) }
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
