import ArgumentParser
import Cluster
import Foundation
import Kernels
import Rollouts
import SoftThinking
import Tasks
import Tokenization
import Transformer

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Answers one question and shows the soft-thinking trace.",
    discussion:
      "With --trace, each thinking step is a line: the emitted token and the tokens mixed into the next input.")

  @OptionGroup var options: ModelOptions
  @OptionGroup var sampling: SamplingFlags

  @Argument(help: "The question.") var question: String
  @Option(help: "gumbel, none or discrete.") var policy = "gumbel"
  @Option(help: "Seed of the noise.") var seed: UInt64 = 1
  @Flag(help: "Show the mixture of every thinking step.") var trace = false

  func run() throws {
    guard let kind = try thinkingKinds(policy, option: "--policy").first else {
      throw CommandError("--policy: is empty")
    }
    let loaded = try sampling.load(options.model)
    let budget = try sampling.options(loaded)
    let prompt = try loaded.encodePrompt(Prompt(id: "question", content: .text(question), answer: ""))
    let team = options.team()
    let positions = prompt.count + budget.longestCompletion
    guard positions <= loaded.source.configuration.contextLength else {
      throw CommandError(
        "the question's \(prompt.count) tokens and a completion of up to \(budget.longestCompletion) exceed the model's context of "
          + "\(loaded.source.configuration.contextLength): lower --max-thinking-tokens or --max-answer-tokens")
    }
    let model = PreparedModel(
      try ModelWeights(source: loaded.source), backend: try matrixBackend(for: options.computeType), trainable: false,
      positions: positions, team: team)
    let engine = try SamplingEngine(model: model, slots: 1, maximumPositions: positions, team: team)
    var printer = TracePrinter(tokenizer: loaded.tokenizer, showsMixtures: trace, policy: sampling.policy(kind))
    engine.observer = { printer.show($0) }
    try engine.submit(
      SamplingRequest(
        id: 0, promptID: "question", groupOrdinal: 0, prompt: prompt, sampleIndices: [0], policy: sampling.policy(kind),
        options: budget, noise: NoiseKey(seed: seed), policyVersion: 0))
    while !engine.isIdle { _ = try engine.step() }
    printer.finish()
  }
}

/// Prints sampled steps as they come.
private struct TracePrinter {
  let tokenizer: Tokenizer
  let showsMixtures: Bool
  let policy: ThinkingPolicy
  var decoder: StreamingDecoder
  var wasThinking = true

  init(tokenizer: Tokenizer, showsMixtures: Bool, policy: ThinkingPolicy) {
    self.tokenizer = tokenizer
    self.showsMixtures = showsMixtures
    self.policy = policy
    decoder = tokenizer.streamingDecoder()
  }

  mutating func show(_ step: SampledStep) {
    switch step {
    case .soft(let ids, let weights):
      if showsMixtures {
        let parts = zip(ids, weights).map { id, weight in
          "\(quoted(id)) \(String(format: "%.3f", weight))"
        }
        write(parts.joined(separator: "  ") + "\n")
      } else {
        write(decoder.append(ids[0]))
      }
    case .token(let id): write(decoder.append(id))
    case .forced(let ids): for id in ids { write(decoder.append(id)) }
    }
  }

  mutating func finish() { write(decoder.finish() + "\n") }

  private func quoted(_ id: Int32) -> String {
    var text = tokenizer.decode([id])
    text = text.replacingOccurrences(of: "\n", with: "\\n")
    return "\u{201C}\(text)\u{201D}"
  }

  private func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }
}
