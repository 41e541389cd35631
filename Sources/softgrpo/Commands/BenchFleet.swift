import ArgumentParser
import FleetBenchmarks
import Foundation
import Logging
import Machine
import Observability

struct BenchFleet: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fleet",
    abstract:
      "How sampling, gradients and their overlap scale with the workers: real ones, each held to a speed of its own.",
    discussion: """
      A learner and workers of a tiny model run in this process, over loopback, and sleep until their work took as long as it \
      would at the stated speed. Everything else is real. Processors that were busy make a ratio meaningless: then there is none.
      """)

  @Option(help: "Numbers of workers that sample, one after another; the first is what the others are compared with.")
  var workers = CommaSeparated<Int>([1, 4, 16, 64])
  @Option(help: "Numbers of workers that compute gradients beside the learner.")
  var gradientWorkers = CommaSeparated<Int>([0, 1, 2, 4, 8, 16])
  @Option(help: "max_staleness of the pipeline's runs; the first is what the others are compared with.")
  var staleness = CommaSeparated<Int>([0, 1])
  @Option(help: "Update over sampling time, in the pipeline's runs.")
  var updateShare = CommaSeparated<Double>([0.4, 0.8])
  @Option(help: "sampling, gradients, pipeline: what is measured.")
  var tables = CommaSeparated<String>(["sampling", "gradients", "pipeline"])
  @Option(help: "Tokens that a worker samples in a second, in the sampling runs.")
  var tokensPerSecond = 200.0
  @Option(help: "Share of a full decode step that does not depend on the number of sequences, in the sampling runs.")
  var fixedShare = 0.0
  @Option(help: "Rows of a gradient, and tokens, that a machine computes in a second in the others.")
  var rowsPerSecond = 2000.0
  @Option(help: "Speeds of the workers as multiples of these, in turns: 1,0.5,2 makes every third one half as fast, …")
  var speeds = CommaSeparated<Double>([1])
  @Option(help: "Rows of a gradient's leaf.")
  var leafRows = 100
  @Option(help: "Optimiser steps of a step where gradients are lent: 1, 2, 4, 8, 16 or 32.")
  var miniBatches = 1
  @Option(help: "Measured steps of each run (twice as many in the pipeline's).")
  var steps = 3
  @Flag(help: "Print JSON instead of tables.")
  var json = false

  func run() throws {
    try requireAll(workers.elements, "--workers", atMost: 1000)
    try requirePositive(steps, "--steps", atMost: 1000)
    try requirePositive(leafRows, "--leaf-rows", atMost: 1_000_000)
    guard miniBatches > 0, 32 % miniBatches == 0 else {
      throw ValidationError("--mini-batches: must divide 32, got \(miniBatches)")
    }
    for count in gradientWorkers.elements where !(0...1000).contains(count) {
      throw ValidationError("--gradient-workers: each must be 0 to 1000, got \(count)")
    }
    for lag in staleness.elements where !(0...100).contains(lag) {
      throw ValidationError("--staleness: each must be 0 to 100, got \(lag)")
    }
    for speed in speeds.elements where !(speed > 0.001 && speed <= 1000) {
      throw ValidationError("--speeds: each must be above 0.001, at most 1000, got \(speed)")
    }
    for share in updateShare.elements where !(share > 0.01 && share <= 100) {
      throw ValidationError("--update-share: each must be above 0.01, at most 100, got \(share)")
    }
    guard tokensPerSecond > 0, rowsPerSecond > 0, tokensPerSecond <= 1e9, rowsPerSecond <= 1e9 else {
      throw ValidationError("--tokens-per-second, --rows-per-second: must be above 0")
    }
    guard (0...1).contains(fixedShare) else {
      throw ValidationError("--fixed-share: must be 0 to 1, got \(fixedShare)")
    }
    for table in tables.elements where !["sampling", "gradients", "pipeline"].contains(table) {
      throw ValidationError("--tables: must be sampling, gradients or pipeline, got \(table)")
    }
    var settings = FleetBenchmark.Settings()
    settings.workers = tables.elements.contains("sampling") ? workers.elements : []
    settings.gradientWorkers = tables.elements.contains("gradients") ? gradientWorkers.elements : []
    settings.updateShares = tables.elements.contains("pipeline") ? updateShare.elements : []
    settings.staleness = staleness.elements
    settings.tokensPerSecond = tokensPerSecond
    settings.fixedShare = fixedShare
    settings.rowsPerSecond = rowsPerSecond
    settings.speeds = speeds.elements
    settings.leafRows = leafRows
    settings.miniBatches = miniBatches
    settings.steps = steps
    let output = RunConsole("bench", level: .error)
    let report = try FleetBenchmark(settings, stop: StopSignal(), logger: output.logger).run(progress: showStage)
    showStage("")
    if json {
      try printReport(report)
    } else {
      try printTables(report)
    }
  }

  private func printTables(_ report: FleetBenchmark.Report) throws {
    func ratio(_ value: Double?) -> String { value.map { formatFixed($0, 3) } ?? "-" }
    func percent(_ value: Double) -> String { "\(formatFixed(value * 100, 0)) %" }
    func busy(_ processors: FleetBenchmark.Processors) -> [String] {
      [percent(processors.ownShare), percent(processors.machineShare), processors.complaint ?? ""]
    }
    let ending: [Table.Column] = [.init("own CPU"), .init("machine"), .init("", .left)]
    print(
      "processors  \(report.processors); a paced fleet in one process, \(report.settings.steps) measured steps a run\n")
    if !report.sampling.isEmpty {
      var table = Table(
        columns: ["workers", "tokens/s", "of stated", "of N x one", "hedged", "join s"].map { .init($0) } + ending)
      for row in report.sampling {
        try table.append(
          [
            "\(row.workers)", formatFixed(row.tokensPerSecond, 1), ratio(row.ofStatedRate), ratio(row.ofOneWorker),
            "\(row.hedgedSamples)", formatFixed(row.joinSeconds, 2),
          ] + busy(row.processors))
      }
      print("sampling, \(formatFixed(report.settings.tokensPerSecond, 0)) tokens/s a worker\n\(table.rendered())\n")
    }
    if !report.gradients.isEmpty {
      var table = Table(
        columns: [
          "workers", "leaves", "update s", "ideal", "whole leaves", "/ ideal", "/ leaves", "sampling s", "step s",
          "ideal", "/ ideal",
          "leased", "leases", "wait s", "same bits",
        ].map { .init($0) } + ending)
      for row in report.gradients {
        try table.append(
          [
            "\(row.workers)", "\(row.leaves)", formatFixed(row.updateSeconds, 3), formatFixed(row.divisibleSeconds, 3),
            formatFixed(row.wholeLeafSeconds, 3), ratio(row.updateOverDivisible), ratio(row.updateOverWholeLeaves),
            formatFixed(row.samplingSeconds, 3), formatFixed(row.stepSeconds, 3), formatFixed(row.idealStepSeconds, 3),
            ratio(row.stepOverIdeal),
            percent(row.leasedShare), formatFixed(row.leases, 1), formatFixed(row.learnerWaitSeconds, 3),
            row.hasSameWeights ? "yes" : "NO",
          ] + busy(row.processors))
      }
      print("gradients, \(formatFixed(report.settings.rowsPerSecond, 0)) rows/s a machine\n\(table.rendered())\n")
    }
    if !report.pipeline.isEmpty {
      var table = Table(
        columns: [
          "update", "staleness", "g s", "u s", "w s", "period s", "predicted", "speedup", "predicted", "dropped",
          "mean lag", "max lag",
        ].map { .init($0) } + ending)
      for row in report.pipeline {
        try table.append(
          [
            row.updateShare.map { "\(formatFixed($0, 2)) g" } ?? "\(percent(row.leasedShare)) leased",
            "\(row.maxStaleness)", formatFixed(row.samplingSeconds, 3),
            formatFixed(row.updateSeconds, 3), formatFixed(row.weightSeconds, 3), formatFixed(row.period, 3),
            formatFixed(row.predictedPeriod, 3), ratio(row.speedup), ratio(row.predictedSpeedup), "\(row.dropped)",
            formatFixed(row.meanLag, 2), "\(row.largestLag)",
          ] + busy(row.processors))
      }
      print("pipeline, 4 workers\n\(table.rendered())")
    }
  }
}
