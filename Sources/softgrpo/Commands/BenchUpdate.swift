import ArgumentParser
import Benchmarking
import Foundation
import Kernels
import Loading
import Observability
import Thinking
import Trajectories

struct BenchUpdate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update",
    abstract: "Time of a learner's step on made-up trajectories, soft and relabelled as discrete tokens.",
    discussion: """
      A step is forward, backward and AdamW over groups of trajectories that share a prompt. Without --soft-steps and \
      --answer-tokens two shapes are measured: 24 and 12, 180 and 20.
      """)

  @OptionGroup var options: BenchOptions
  @Option(help: "Soft steps of a trajectory.")
  var softSteps: Int?
  @Option(help: "Discrete tokens after them.")
  var answerTokens: Int?
  @Option(help: "Tokens of a prompt.")
  var promptTokens = 100
  @Option(help: "Prompts.")
  var groups = 8
  @Option(help: "Trajectories of a prompt.")
  var groupSize = 8
  @Option(help: "Rows of one packed pass.")
  var microBatchTokens = 4096
  @Option(help: "Rounds: pairs of a soft and a discrete update.")
  var pairs = 3
  @Option(help: "Policy of the soft steps.")
  var policy = PolicyName(ThinkingPolicies.standard)
  @OptionGroup var parameters: PolicyArguments

  func validate() throws {
    if options.arithmetic.dtype == .int8 {
      throw ValidationError("--dtype: int8 is for sampling and scoring; update with bfloat16 or float32")
    }
  }

  func run() throws {
    let settings = try settings()
    let model = try options.open()
    let backend = try options.arithmetic.backend()
    try UpdateBenchmark.check(settings, configuration: model.configuration, computeType: backend.computeType)
    let team = options.arithmetic.team()
    options.progress("preparing the model")
    let benchmark = try UpdateBenchmark(
      settings, state: try model.learnerState(team: team), backend: backend, team: team)
    let report = UpdateReport(
      model: model, settings: settings, results: try benchmark.run { options.progress($0) })
    if options.json { try options.printJSON(report) } else { try printTables(report) }
  }

  private func settings() throws -> UpdateBenchmark.Settings {
    var shapes = UpdateBenchmark.Settings().shapes
    if let softSteps, let answerTokens {
      guard (0...1 << 20).contains(softSteps), (0...1 << 20).contains(answerTokens), softSteps + answerTokens > 0 else {
        throw CommandError(
          "--soft-steps, --answer-tokens: must be 0 to \(1 << 20) and not both 0, got \(softSteps) and \(answerTokens)")
      }
      shapes = [.init(softSteps: softSteps, answerTokens: answerTokens)]
    } else if softSteps != nil || answerTokens != nil {
      throw CommandError("--soft-steps and --answer-tokens: give both, or neither for the two usual shapes")
    }
    try requirePositive(promptTokens, "--prompt-tokens")
    try requirePositive(groups, "--groups", atMost: 65_536)
    try requirePositive(groupSize, "--group-size", atMost: 4096)
    try requirePositive(microBatchTokens, "--micro-batch-tokens", atMost: 16_777_216)
    try requirePositive(pairs, "--pairs", atMost: 10_000)
    return UpdateBenchmark.Settings(
      shapes: shapes, promptTokens: promptTokens, groups: groups, groupSize: groupSize,
      microBatchTokens: microBatchTokens, pairs: pairs, soft: try parameters.policy(policy))
  }

  private func printTables(_ report: UpdateReport) throws {
    options.printHeading(report.model, report.machine)
    var table = Table(columns: [
      .init("soft"), .init("answer"), .init("policy", .left), .init("rows"), .init("passes"), .init("seconds"),
      .init("tokens/s"), .init("GFLOP/s"), .init("of peak"), .init("in products"), .init("of peak"), .init("forward"),
      .init("backward"), .init("head"), .init("optimizer"), .init("other"), .init("peak memory"),
    ])
    for row in report.rows {
      let parts = row.secondsByPart
      try table.append(
        ["\(row.softSteps)", "\(row.answerTokens)", row.policy, "\(row.rows)", "\(row.microBatches)"]
          + [
            formatFixed(row.seconds, 2), formatFixed(row.tokensPerSecond, 0), formatFixed(row.gflops, 0),
            formatFixed(row.gemmPeakFraction, 3), formatFixed(row.projectionGflops, 0),
            formatFixed(row.projectionPeakFraction, 3),
          ] + [parts.forward, parts.backward, parts.head, parts.optimizer, parts.other].map { formatFixed($0, 2) }
          + [row.peakMemoryBytes.map(formatBytes) ?? "?"])
    }
    print(table.rendered())
    print(
      try stageTable(
        report.rows.map { row in
          (["\(row.softSteps)", "\(row.answerTokens)", row.policy], row.stages.mapValues { $0 * 1e3 })
        }, labels: ["soft", "answer", "policy"], title: "milliseconds of an update"))
    var ratios = Table(columns: [.init("soft"), .init("answer"), .init("soft/discrete"), .init("in CPU time")])
    for ratio in report.ratios {
      try ratios.append([
        "\(ratio.softSteps)", "\(ratio.answerTokens)", formatFixed(ratio.softOverDiscrete, 3),
        formatFixed(ratio.softOverDiscreteCpu, 3),
      ])
    }
    print("update time, median of \(report.settings.pairs) pairs\n" + ratios.rendered())
    print("new weights ready after \(formatFixed(report.prepareSeconds, 2)) s more")
    print("peak memory \(formatBytes(report.peakMemoryBytes))")
  }
}
