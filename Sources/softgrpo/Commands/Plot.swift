import ArgumentParser
import Foundation
import JSON
import Learner
import Observability

struct Plot: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Draws metrics of one or more runs as SVG, and writes them as CSV.",
    discussion: """
      A RUN is a run's folder, or its metrics.jsonl. LABEL=RUN1,RUN2,… draws runs that differ in their seeds as one line, their \
      mean, in a band from the smallest to the largest value.

        softgrpo plot runs/multiply --output curve.svg
        softgrpo plot soft=runs/soft-1,runs/soft-2 discrete=runs/discrete-1,runs/discrete-2 --metric reward/mean --csv curve.csv
      """)

  @Argument(help: "Folders of runs, or LABEL=RUN1,RUN2,….")
  var runs: [String]

  @Option(help: "What is drawn, a panel each; may be given again. Default: reward/mean and thinking_length/mean.")
  var metric: [String] = []

  @Option(help: "Records over which each run's values are averaged.")
  var smooth = 1

  @Option(help: "The SVG file; - is the standard output.")
  var output: String?

  @Option(help: "The CSV file; - is the standard output.")
  var csv: String?

  func validate() throws {
    if runs.isEmpty { throw ValidationError("name at least one run, as in runs/multiply") }
    if smooth < 1 { throw ValidationError("--smooth: must be at least 1, got \(smooth)") }
    if output == nil && csv == nil { throw ValidationError("--output: name the SVG file, or the CSV file with --csv") }
    if output == "-" && csv == "-" { throw ValidationError("--csv: only one of both can be the standard output") }
  }

  func run() throws {
    let metrics = metric.isEmpty ? [MetricName.rewardMean, MetricName.thinkingLengthMean] : metric
    let groups = try runs.map(Self.group)
    let known = Set(groups.flatMap { $0.runs.flatMap { $0.flatMap { $0.metrics.keys } } }).sorted()
    for name in metrics where !known.contains(name) {
      throw CommandError("--metric: " + unknownNameMessage(name, key: "metric", known: known))
    }
    let figure = Figure(
      panels: metrics.map { metric in
        Figure.Panel(
          metric: metric,
          curves: groups.map { Curve(label: $0.label, metric: metric, runs: $0.runs, smoothing: smooth) })
      })
    for (path, text) in [(output, { figure.svg() }), (csv, { figure.csv() })] {
      guard let path else { continue }
      var file = try AtomicFile(path: path)
      try file.write(Data(text().utf8))
      try file.commit()
    }
  }

  private static func group(_ argument: String) throws -> (label: String, runs: [[MetricsRecord]]) {
    // A folder's name may hold "=".
    let isPlain = FileManager.default.fileExists(atPath: argument)
    let parts = isPlain ? [] : argument.split(separator: "=", maxSplits: 1).map(String.init)
    let paths = parts.count == 2 ? parts[1].split(separator: ",").map(String.init) : [argument]
    let label = parts.count == 2 ? parts[0] : (argument as NSString).lastPathComponent
    return (
      label,
      try paths.map { path in
        try MetricsLog.read(path.hasSuffix(".jsonl") ? path : RunDirectory(path: path).metricsPath)
      }
    )
  }
}
