import ArgumentParser
import Evaluation
import Foundation
import Observability
import Tasks
import Thinking
import Trajectories

/// A list given as 1,8,32.
struct CommaSeparated<Element: ExpressibleByArgument & Sendable>: ExpressibleByArgument, Sendable {
  var elements: [Element]

  init(_ elements: [Element]) { self.elements = elements }

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    elements = parts.compactMap { Element(argument: $0.trimmingCharacters(in: .whitespaces)) }
    if elements.isEmpty || elements.count != parts.count { return nil }
  }

  var defaultValueDescription: String { elements.map(\.defaultValueDescription).joined(separator: ",") }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "pass@k, maj@k and lengths of a model on prompts with known answers, by thinking policy.")

  @OptionGroup var options: ModelOptions
  @OptionGroup var prompts: PromptOptions
  @Option(help: "Samples of a prompt.")
  var samples = 32
  @Option(help: "Each k of pass@k and maj@k; default: those of 1,8,16,32 that the samples allow.")
  var k: CommaSeparated<Int>?
  @Option(help: "Thinking policies that are compared: \(ThinkingPolicies.names.joined(separator: ", ")).")
  var policy = CommaSeparated([PolicyName(ThinkingPolicies.standard), PolicyName(ThinkingPolicies.tokens)])
  @OptionGroup var sampling: SamplingCommandOptions
  @Option(help: "Sequences decoded at once.")
  var slots = 64
  @Option(help: "How completions are judged: math or exact.")
  var reward = RewardKind(MathReward.name)
  @Option(help: "Where the figures go as JSON; the table is printed either way.")
  var output: String?

  func run() throws {
    try requirePositive(samples, "--samples", atMost: 65_536)
    try requirePositive(slots, "--slots", atMost: 4096)
    let ks = k?.elements ?? [1, 8, 16, 32].filter { $0 <= samples }
    for k in ks where k < 1 || k > samples {
      throw CommandError(
        "--k: \(k) is not among 1 to \(samples), the samples of a prompt; raise --samples or lower --k")
    }
    let judge = try judge()
    let policies = try policy.elements.map { try sampling.policy($0) }
    let prompts = try prompts.read()
    self.prompts.warnOfReferences(prompts, for: try reward.sum())
    let loaded = try sampling.load(options.model)
    let plan = try sampling.plan(loaded)
    let tokens = try loaded.encodePrompts(prompts, longestCompletion: plan.longestCompletion)
    let items = zip(prompts, tokens).map {
      Evaluator.Item(id: $0.id, prompt: $1, question: $0.text, answer: $0.answer, fields: $0.fields)
    }
    if let output { try checkWritable(output) }

    let stop = Interruption.ofComputation("eval")
    let team = options.team()
    let positions = (tokens.map(\.count).max() ?? 1) + plan.longestCompletion
    let model = try options.prepare(loaded.source, positions: positions, team: team)
    let evaluator = Evaluator(samples: samples, k: ks, seed: sampling.seed, slots: slots)
    let text = loaded.textInterface
    let results = try policies.map { policy in
      var progress = SamplingProgress(label: "eval \(policy.name)", total: items.count * samples)
      let result = try evaluator.evaluate(
        items, model: model, policy: policy, plan: plan, team: team, ends: text.endOfThinkingTokens,
        completion: text.completion, judge: judge,
        progress: { finished, _ in
          progress.update(completed: finished)
          return !stop.isRequested
        })
      progress.finish(
        completed: items.count * samples, detail: "\(Int(result.tokensPerSecond.rounded())) tokens/s")
      return result
    }
    let table = try table(results, ks)
    // Figures on standard output are for a program, which a table would confuse.
    if let output, AtomicFile.isStandardOutput(output) {
      Console.standardError.writeLine(table)
    } else {
      print(table, terminator: "")
    }
    if let output {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      try writeAtomically(try encoder.encode(Report(self, results)), to: output)
    }
  }

  /// A sample counts in pass@k when its reward is 1.
  private func judge() throws -> ([RewardQuery]) throws -> [Bool?] {
    let rewards = try reward.sum()
    return { try rewards.judge($0).map { judged in judged.total.map { $0 >= 1 } } }
  }

  private func table(_ results: [Evaluator.Result], _ ks: [Int]) throws -> String {
    var table = Table(
      columns: [.init("policy", .left)] + ks.map { .init("pass@\($0)") } + ks.map { .init("maj@\($0)") }
        + [.init("thinking"), .init("right"), .init("wrong"), .init("completion"), .init("stopped"), .init("tokens/s")])
    for result in results {
      try table.append(
        [result.policy] + ks.map { formatFixed(result.passAt[$0] ?? .nan, 3) }
          + ks.map { formatFixed(result.majorityAt[$0] ?? .nan, 3) }
          + [
            formatFixed(result.meanThinkingLength, 1), formatFixed(result.thinkingLengthCorrect ?? .nan, 1),
            formatFixed(result.thinkingLengthWrong ?? .nan, 1), formatFixed(result.meanCompletionLength, 1),
            formatFixed(result.stopped, 3), formatFixed(result.tokensPerSecond, 0),
          ])
    }
    return try table.rendered() + softness(results)
  }

  /// How soft the thinking was, in all steps and at forks.
  private func softness(_ results: [Evaluator.Result]) throws -> String {
    var table = Table(
      columns: [
        .init("policy", .left), .init("largest weight"), .init("effective"), .init("mixed"), .init("entropy"),
        .init("forks"), .init("largest weight"), .init("effective"), .init("mixed"),
      ])
    for result in results {
      let (softness, forks) = (result.softness, result.softness.forks)
      let values = [
        softness.all.largestWeight, softness.all.effectiveComponents, softness.all.mixedShare, softness.meanEntropy,
        softness.forkShare, forks.largestWeight, forks.effectiveComponents, forks.mixedShare,
      ]
      try table.append([result.policy] + values.map { formatFixed($0 ?? .nan, 3) })
    }
    return "thinking steps, and those of them that are forks (largest probability below 0.9)\n" + table.rendered()
  }

  private struct Report: Encodable {
    struct Softness: Encodable {
      var largest_weight: Double?
      var effective_components: Double?
      var mixed: Double?
      var entropy: Double?
      var forks: Double?
      var fork_largest_weight: Double?
      var fork_effective_components: Double?
      var fork_mixed: Double?

      init(_ softness: Trajectories.Softness) {
        largest_weight = softness.all.largestWeight
        effective_components = softness.all.effectiveComponents
        mixed = softness.all.mixedShare
        entropy = softness.meanEntropy
        forks = softness.forkShare
        fork_largest_weight = softness.forks.largestWeight
        fork_effective_components = softness.forks.effectiveComponents
        fork_mixed = softness.forks.mixedShare
      }
    }
    struct Row: Encodable {
      var policy: String
      var pass_at_k: [String: Double]
      var maj_at_k: [String: Double]
      var thinking_length_mean: Double
      var thinking_length_correct: Double?
      var thinking_length_wrong: Double?
      var softness: Softness
      var completion_length_mean: Double
      var stopped: Double
      var tokens_per_second: Double
      var not_judged: Int
    }
    var model: String
    var prompts: String
    var prompt_count: Int
    var samples: Int
    var seed: UInt64
    var dtype: String
    var results: [Row]

    init(_ command: Evaluate, _ results: [Evaluator.Result]) {
      model = command.options.model
      prompts = command.prompts.prompts
      prompt_count = results.first?.prompts ?? 0
      samples = command.samples
      seed = command.sampling.seed
      dtype = command.options.dataType.rawValue
      func named(_ values: [Int: Double]) -> [String: Double] {
        Dictionary(uniqueKeysWithValues: values.map { (String($0.key), $0.value) })
      }
      self.results = results.map {
        Row(
          policy: $0.policy, pass_at_k: named($0.passAt), maj_at_k: named($0.majorityAt),
          thinking_length_mean: $0.meanThinkingLength, thinking_length_correct: $0.thinkingLengthCorrect,
          thinking_length_wrong: $0.thinkingLengthWrong, softness: Softness($0.softness),
          completion_length_mean: $0.meanCompletionLength,
          stopped: $0.stopped, tokens_per_second: $0.tokensPerSecond,
          not_judged: $0.notJudged)
      }
    }
  }
}
