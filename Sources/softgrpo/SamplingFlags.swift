import ArgumentParser
import Cluster
import Foundation
import Rollouts
import SoftThinking
import Tasks

extension ThinkingPolicy.Density: ExpressibleByArgument {}

/// The thinking policy and the budgets of commands that sample.
struct SamplingFlags: ParsableArguments {
  @Option(help: "reference, exact or concrete.") var density = ThinkingPolicy.Density.reference
  @Option(help: "Components of a thinking step.") var topK = 5
  @Option(help: "Nucleus threshold of a thinking step.") var topP: Float = 0.95
  @Option(help: "Components below this share of the largest are removed.") var minP: Float = 0
  @Option(help: "Softmax temperature while thinking.") var temperature: Float = 1
  @Option(help: "Temperature of the mixture.") var gumbelTemperature: Float = 0.1
  @Option(help: "Scale of the Gumbel noise.") var noiseScale: Float = 1
  @Option(help: "concrete: components below this share of the largest weight are cut.") var mixtureFloor: Float = 0.01
  @Option(help: "Thinking steps at most.") var maxThinkingTokens = 256
  @Option(help: "Answer tokens at most.") var maxAnswerTokens = 128
  @Option(help: "Text of the token that ends thinking; default: </think> when the vocabulary has it.")
  var endOfThinkingToken: String?
  @Option(help: "Forced before the answer, as in $'\\nThe final answer is: '.") var answerPrefix: String?
  @Option(help: "0 is greedy.") var answerTemperature: Float = 1
  @Option(help: "0 is the whole vocabulary.") var answerTopK = 0
  @Option var answerTopP: Float = 1
  @Option(help: "auto, chatml, llama3 or plain.") var chatTemplate = "auto"
  @Option(help: "Replaces the template's own system prompt.") var systemPrompt: String?
  @Option(help: "Sequences decoded at once.") var slots = 32

  func validate() throws {
    if slots < 1 { throw ValidationError("--slots: must be at least 1, got \(slots)") }
    do { try policy(.gumbel).validate() } catch { throw ValidationError("\(error)") }
  }

  func policy(_ kind: ThinkingPolicy.Kind) -> ThinkingPolicy {
    ThinkingPolicy(
      kind: kind, topK: topK, topP: topP, minP: minP, temperature: temperature, gumbelTemperature: gumbelTemperature,
      noiseScale: noiseScale, density: density, mixtureFloor: mixtureFloor)
  }

  func load(_ path: String) throws -> LoadedModel {
    try LoadedModel(
      path: path, chatTemplate: chatTemplate, systemPrompt: systemPrompt, endOfThinkingToken: endOfThinkingToken)
  }

  func options(_ model: LoadedModel) throws -> SamplingOptions {
    SamplingOptions(
      maxThinkingTokens: maxThinkingTokens, endOfThinkingTokens: model.endOfThinkingTokens,
      forcedEndToken: model.endOfThinkingTokens.first,
      answerPrefix: try answerPrefix.map { try model.tokenizer.encode($0) } ?? [], stopTokens: model.stopTokens,
      maxAnswerTokens: maxAnswerTokens,
      answer: DiscreteSampling(temperature: answerTemperature, topK: answerTopK, topP: answerTopP))
  }
}

/// Thinking kinds as command-line words.
func thinkingKinds(_ text: String, option: String) throws -> [ThinkingPolicy.Kind] {
  try text.split(separator: ",").map { word in
    guard let kind = ThinkingPolicy.Kind(rawValue: String(word)) else {
      let known = ThinkingPolicy.Kind.allCases.map(\.rawValue).joined(separator: ", ")
      throw CommandError("\(option): '\(word)' is not a thinking policy; known: \(known)")
    }
    return kind
  }
}

/// A prompt file as token ids that fit the model.
func encodedPrompts(
  _ path: String, fields: PromptFields, model: LoadedModel, options: SamplingOptions
) throws -> [Evaluator.Item] {
  let context = model.source.configuration.contextLength
  return try PromptFile.read(path, fields: fields).map { prompt in
    let tokens = try model.encodePrompt(prompt)
    let needed = tokens.count + options.longestCompletion
    guard needed <= context else {
      throw CommandError(
        "\(path): prompt \(prompt.id): \(tokens.count) tokens and a completion of up to \(options.longestCompletion) exceed the "
          + "model's context of \(context): shorten the prompt or lower --max-thinking-tokens or --max-answer-tokens")
    }
    return Evaluator.Item(id: prompt.id, prompt: tokens, answer: prompt.answer)
  }
}
