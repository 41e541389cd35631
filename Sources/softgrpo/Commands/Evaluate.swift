import ArgumentParser
import Cluster
import Foundation
import Kernels
import Observability
import SoftThinking
import Tasks
import Transformer

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval", abstract: "pass@k, maj@k and lengths of a model on a prompt file, per thinking policy.")

  @OptionGroup var options: ModelOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(help: "Prompt file (JSONL).") var prompts: String
  @Option(help: "Field of the prompt's text.") var promptField = "prompt"
  @Option(help: "Field of the reference answer.") var answerField = "answer"
  @Option(help: "Samples of a prompt.") var samples = 32
  @Option(help: "Each k of pass@k and maj@k.") var k = "1,8,16,32"
  @Option(help: "Thinking policies: gumbel, none, discrete.") var policy = "gumbel,discrete"
  @Option(help: "Prompts at most; 0: all.") var limit = 0
  @Option(help: "Seed of the noise.") var seed: UInt64 = 1
  @Option(help: "Also write the figures here (JSON).") var output: String?

  private struct Row: Encodable {
    var policy: String
    var prompts: Int
    var samples: Int
    var pass_at: [String: Double]
    var maj_at: [String: Double]
    var thinking_length: Double
    var completion_length: Double
    var stopped: Double
    var tokens_per_second: Double
  }

  func run() throws {
    let ks = try k.split(separator: ",").map { word in
      guard let value = Int(word), value >= 1, value <= samples else {
        throw CommandError("--k: '\(word)' must be a whole number from 1 to --samples = \(samples)")
      }
      return value
    }
    let kinds = try thinkingKinds(policy, option: "--policy")
    let loaded = try sampling.load(options.model)
    let budget = try sampling.options(loaded)
    var items = try encodedPrompts(
      prompts, fields: PromptFields(prompt: promptField, answer: answerField), model: loaded, options: budget)
    if limit > 0 { items = Array(items.prefix(limit)) }
    let team = options.team()
    let longest = (items.map(\.prompt.count).max() ?? 1) + budget.longestCompletion
    let model = PreparedModel(
      try ModelWeights(source: loaded.source), backend: try matrixBackend(for: options.computeType), trainable: false,
      positions: longest, team: team)
    let evaluator = Evaluator(samples: samples, k: ks, seed: seed, slots: sampling.slots)
    let text = loaded.textInterface
    let verifier = MathReward()
    var table = Table(
      columns: [.init("policy", .left)] + ks.map { .init("pass@\($0)") } + ks.map { .init("maj@\($0)") }
        + [.init("thinking"), .init("completion"), .init("stopped"), .init("tok/s")])
    var rows: [Row] = []
    for kind in kinds {
      var progress = ProgressReporter(
        label: "eval \(kind.rawValue)", total: items.count * samples, unit: "sample", console: .standardError)
      let result = try evaluator.evaluate(
        items, model: model, policy: sampling.policy(kind), options: budget, team: team, completion: text.completion,
        isCorrect: { verifier.reward(completion: $0, answer: $1) >= 1 },
        progress: { finished, _ in
          progress.update(completed: finished, at: ProcessInfo.processInfo.systemUptime)
          return true
        })
      progress.finish(completed: items.count * samples, at: ProcessInfo.processInfo.systemUptime)
      func named(_ values: [Int: Double]) -> [String: Double] {
        Dictionary(uniqueKeysWithValues: values.map { (String($0.key), $0.value) })
      }
      rows.append(
        Row(
          policy: kind.rawValue, prompts: result.prompts, samples: result.samples, pass_at: named(result.passAt),
          maj_at: named(result.majorityAt), thinking_length: result.meanThinkingLength,
          completion_length: result.meanCompletionLength, stopped: result.stopped,
          tokens_per_second: result.tokensPerSecond))
      let cells =
        ks.map { formatFixed(result.passAt[$0] ?? .nan, 3) } + ks.map { formatFixed(result.majorityAt[$0] ?? .nan, 3) }
      try table.append(
        [kind.rawValue] + cells + [
          formatFixed(result.meanThinkingLength, 1), formatFixed(result.meanCompletionLength, 1),
          formatFixed(result.stopped, 3), formatFixed(result.tokensPerSecond, 0),
        ])
    }
    print(table.rendered())
    if let output {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try writeAtomically(try encoder.encode(rows), to: output)
    }
  }
}
