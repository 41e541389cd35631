import ArgumentParser
import Benchmarking
import FleetBenchmarks
import Foundation
import Kernels
import Loading
import ModelFiles
import Observability
import Transformer
import WeightSync

struct BenchWeights: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weights",
    abstract: "Size of the weight deltas, time to make and apply them, and how fast they reach workers.",
    discussion: """
      AdamW takes steps of the learning rate on made-up gradients. Workers are threads of this process that pull over \
      loopback and share its processors: the last one's time is that of all the work, not that of a network.
      """)

  @OptionGroup var options: BenchOptions
  @Option(help: "Learning rates.")
  var learningRate = CommaSeparated<Double>([1e-6])
  @Option(
    help: "A later version of --model, such as what `update` writes: its delta is measured in place of made-up steps.")
  var next: String?
  @Option(help: "Optimiser steps at each learning rate.")
  var steps = 5
  @Option(help: "Numbers of workers that each version is broadcast to; 0: no broadcast.")
  var workers = CommaSeparated<Int>([1, 4])
  @Option(help: "Relays between the learner and the workers, each below the one before; one number after another.")
  var relays = CommaSeparated<Int>([0])

  func run() throws {
    for rate in learningRate.elements where !(rate > 0 && rate <= 1) {
      throw CommandError("--learning-rate: must be in (0, 1], got \(rate)")
    }
    try requirePositive(steps, "--steps", atMost: 10_000)
    for count in workers.elements where !(0...256).contains(count) {
      throw CommandError("--workers: must be 0 to 256, got \(count)")
    }
    for count in relays.elements where !(0...8).contains(count) {
      throw CommandError("--relays: must be 0 to 8, got \(count)")
    }
    let settings = WeightsBenchmark.Settings(learningRates: learningRate.elements, steps: steps)
    if next != nil, options.model == nil { throw CommandError("--next: needs --model, the version before it") }
    let model = try options.open()
    let team = options.arithmetic.team()
    let machine = MachineLimits.measure(
      backend: try options.arithmetic.backend(), dataType: options.arithmetic.dataType, team: team)
    let benchmark = WeightsBenchmark(settings, model: model, team: team)
    // The first step of each learning rate is broadcast.
    var kept: [WeightsBenchmark.Step] = []
    func keep(_ step: WeightsBenchmark.Step) {
      if !kept.contains(where: { $0.learningRate == step.learningRate }) { kept.append(step) }
    }
    let rows =
      try next.map { try benchmark.compare(with: .file(ModelSource.open(path: $0)), visit: keep) }
      ?? benchmark.run(progress: options.progress, visit: keep)
    var broadcasts: [BroadcastRow] = []
    for step in kept {
      for count in workers.elements where count > 0 {
        for depth in relays.elements {
          options.progress("broadcast to \(count) workers\(depth > 0 ? " below \(depth) relays" : "")")
          let result = try BroadcastMeasurement.run(
            workers: count, depth: depth, from: step.previous, to: step.next, delta: step.delta,
            model: model.configuration)
          broadcasts.append(result.row(learningRate: step.learningRate))
        }
      }
    }
    let report = WeightsReport(model: model, machine: machine, settings: settings, rows: rows, broadcasts: broadcasts)
    if options.json { try options.printJSON(report) } else { try printTables(report) }
  }

  private func printTables(_ report: WeightsReport) throws {
    options.printHeading(report.model, report.machine)
    var table = Table(columns: [
      .init("learning rate"), .init("step"), .init("changed %"), .init("delta"), .init("bits/change"),
      .init("of whole %"),
      .init("hash s"), .init("GB/s"), .init("encode s"), .init("GB/s"), .init("apply s"), .init("encode + apply s"),
      .init("CPU s"),
    ])
    for row in report.rows {
      let apply = row.apply
      try table.append([
        row.learningRate.map { "\($0)" } ?? "", "\(row.step)", formatFixed(row.density * 100, 3),
        row.deltaBytes.map(formatBytes) ?? "none",
        row.bitsPerChange.map { formatFixed($0, 2) } ?? "",
        row.deltaBytes.map { formatFixed(Double($0) / Double(row.weightBytes) * 100, 3) } ?? "",
        formatFixed(row.hash.seconds, 3), formatFixed(row.hashGigabytesPerSecond, 2),
        formatFixed(row.encode.seconds, 3),
        formatFixed(row.encodeGigabytesPerSecond, 1), apply.map { formatFixed($0.seconds, 3) } ?? "",
        apply.map { formatFixed(row.hash.seconds + row.encode.seconds + $0.seconds, 3) } ?? "",
        formatFixed(row.hash.cpuSeconds + row.encode.cpuSeconds + (apply?.cpuSeconds ?? 0), 3),
      ])
    }
    print(table.rendered())
    if !report.broadcasts.isEmpty {
      var table = Table(columns: [
        .init("learning rate"), .init("workers"), .init("relays"), .init("sent"), .init("median s"), .init("last s"),
        .init("CPU s"),
      ])
      for row in report.broadcasts {
        try table.append([
          row.learningRate.map { "\($0)" } ?? "", "\(row.workers)", "\(row.relays)", formatBytes(row.wireBytes),
          formatFixed(row.medianSeconds, 3),
          formatFixed(row.lastSeconds, 3), formatFixed(row.cpuSeconds, 3),
        ])
      }
      print("from publication until workers hold the version, verified\n" + table.rendered())
    }
    print("peak memory \(formatBytes(report.peakMemoryBytes))")
  }
}

extension BroadcastMeasurement {
  func row(learningRate: Double?) -> BroadcastRow {
    let sorted = seconds.sorted()
    return BroadcastRow(
      learningRate: learningRate, workers: sorted.count, relays: depth, wireBytes: wireBytes,
      medianSeconds: sorted[sorted.count / 2],
      lastSeconds: sorted[sorted.count - 1], cpuSeconds: cpuSeconds)
  }
}
