import ArgumentParser
import Benchmarking
import Foundation
import Kernels
import Loading
import Observability
import Thinking
import Trajectories
import Transformer

struct BenchRollout: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollout",
    abstract: "Tokens a second of the sampling engine, soft and discrete, by batch size and context.",
    discussion: """
      Policies take turns within a round and medians over the rounds are reported. Soft over discrete compares the soft \
      run with discrete tokens drawn under the same truncation: the same trajectories, relabelled.
      """)

  @OptionGroup var options: BenchOptions
  @Option(help: "Sequences decoded at once.")
  var batch = CommaSeparated<Int>([1, 8, 32, 64])
  @Option(help: "Tokens of a prompt; default: 69.")
  var promptTokens: Int?
  @Option(help: "Prompt lengths to measure one after another, such as 128,512,1024,2048,4096.")
  var context: CommaSeparated<Int>?
  @Option(help: "Decode steps timed in a round.")
  var steps = 64
  @Option(help: "Decode steps before them.")
  var warmUpSteps = 4
  @Option(help: "Rounds: pairs of a soft and a discrete run.")
  var pairs = 3
  @Option(help: "Samples that share a prompt.")
  var groupSize = 8
  @Option(
    help:
      "Policies: \(ThinkingPolicies.names.joined(separator: ", ")). One without soft steps draws from the whole vocabulary, as GRPO does."
  )
  var policy = CommaSeparated([PolicyName(ThinkingPolicies.standard), PolicyName(ThinkingPolicies.tokens)])
  @OptionGroup var parameters: PolicyArguments

  func run() throws {
    let settings = try settings()
    let model = try options.open()
    let type = options.arithmetic.dataType
    let backend = try options.arithmetic.backend()
    try RolloutBenchmark.check(settings, configuration: model.configuration, computeType: backend.computeType)
    let team = options.arithmetic.team()
    options.progress("preparing the model")
    let prepared = PreparedModel(
      try model.weights(team: team), backend: backend, trainable: false, positions: settings.longestSequence,
      team: team)
    let benchmark = try RolloutBenchmark(settings, model: prepared, dataType: type, team: team)
    let report = RolloutReport(
      model: model, settings: settings, results: try benchmark.run { options.progress($0) })
    if options.json { try options.printJSON(report) } else { try printTables(report) }
  }

  private func settings() throws -> RolloutBenchmark.Settings {
    try requireAll(batch.elements, "--batch", atMost: 4096)
    if promptTokens != nil, context != nil {
      throw CommandError("--context: gives the prompt lengths itself; leave out --prompt-tokens")
    }
    let prompts = context?.elements ?? [promptTokens ?? 69]
    try requireAll(prompts, context == nil ? "--prompt-tokens" : "--context", atMost: 1 << 20)
    try requirePositive(steps, "--steps")
    guard (0...1 << 20).contains(warmUpSteps) else {
      throw CommandError("--warm-up-steps: must be 0 to \(1 << 20), got \(warmUpSteps)")
    }
    try requirePositive(pairs, "--pairs", atMost: 10_000)
    try requirePositive(groupSize, "--group-size", atMost: 4096)
    guard Set(policy.elements.map(\.name)).count == policy.elements.count else {
      throw CommandError("--policy: names a policy twice")
    }
    return RolloutBenchmark.Settings(
      batchSizes: batch.elements, promptTokens: prompts, steps: steps, warmUpSteps: warmUpSteps, pairs: pairs,
      groupSize: groupSize, policies: try policy.elements.map { try parameters.policy($0) })
  }

  private func printTables(_ report: RolloutReport) throws {
    options.printHeading(report.model, report.machine)
    var table = Table(columns: [
      .init("prompt"), .init("batch"), .init("policy", .left), .init("tokens/s"), .init("ms/step"), .init("GFLOP/s"),
      .init("GB/s"), .init("roofline tokens/s"), .init("limit", .left), .init("fraction"), .init("CPU ms/token"),
      .init("prefill tokens/s"),
    ])
    for row in report.rows {
      try table.append([
        "\(row.promptTokens)", "\(row.batch)", row.policy, formatFixed(row.tokensPerSecond, 0),
        formatFixed(row.millisecondsPerStep, 2), formatFixed(row.gflops, 0), formatFixed(row.gigabytesPerSecond, 1),
        formatFixed(row.rooflineTokensPerSecond, 0), row.rooflineLimit, formatFixed(row.rooflineFraction, 3),
        formatFixed(row.cpuSecondsPerToken * 1e3, 3), formatFixed(row.prefillTokensPerSecond, 0),
      ])
    }
    print(table.rendered())
    print(
      try stageTable(
        report.rows.map { (["\($0.promptTokens)", "\($0.batch)", $0.policy], $0.stages) },
        labels: ["prompt", "batch", "policy"], title: "milliseconds of a step"))
    if !report.ratios.isEmpty {
      var table = Table(columns: [
        .init("prompt"), .init("batch"), .init("soft/discrete"), .init("in CPU time"), .init("soft/full vocabulary"),
      ])
      for ratio in report.ratios {
        try table.append([
          "\(ratio.promptTokens)", "\(ratio.batch)", formatFixed(ratio.softOverDiscrete, 3),
          formatFixed(ratio.softOverDiscreteCpu, 3), formatFixed(ratio.softOverFullVocabulary, 3),
        ])
      }
      print("decode time, median of \(report.settings.pairs) pairs\n" + table.rendered())
    }
    print("peak memory \(formatBytes(report.peakMemoryBytes))")
  }
}
