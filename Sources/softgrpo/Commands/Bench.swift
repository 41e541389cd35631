import ArgumentParser
import Benchmarking
import Foundation
import Kernels
import ModelFiles
import Observability

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "How fast sampling, the update and the weight chain are here, and how far that is from the machine's limits.",
    discussion: "docs/performance.md says what each figure means.",
    subcommands: [BenchRollout.self, BenchUpdate.self, BenchTransport.self, BenchWeights.self, BenchFleet.self])
}

/// What every benchmark is told.
struct BenchOptions: ParsableArguments {
  @Option(help: "A Hugging Face directory or a GGUF file; default: made-up weights in the shape of SmolLM2-135M.")
  var model: String?

  @OptionGroup var arithmetic: ArithmeticOptions

  @Flag(help: "Print JSON instead of tables.")
  var json = false

  func open() throws -> BenchmarkModel {
    guard let model else { return .synthetic }
    return .file(try ModelSource.open(path: model))
  }

  /// What is being done, for a person who waits.
  func progress(_ text: String) { Console.standardError.setStatus(text) }

  func printJSON(_ report: some Encodable) throws {
    progress("")
    try printReport(report)
  }

  /// The lines above a benchmark's tables.
  func printHeading(_ model: ModelSummary, _ machine: MachineLimits) {
    progress("")
    print(
      "model      \(model.name), \(formatFixed(Double(model.parameters) / 1e6, 1)) M weights"
        + (model.isSynthetic ? "; --model takes a real one, whose draws may cost a little more or less" : ""))
    print("processor  \(machine.processor), \(machine.threads) threads; \(machine.backend)")
    let library = machine.gemmBackend == machine.backend ? "" : " by \(machine.gemmBackend)"
    print(
      "limits     GEMM peak \(formatFixed(machine.gemmGflops, 0)) GFLOP/s (\(machine.dtype), "
        + "\(machine.gemmShape.map(String.init).joined(separator: " x "))\(library)), memory "
        + "\(formatFixed(machine.memoryGigabytesPerSecond, 1)) GB/s\n")
  }
}

/// A benchmark's report as JSON on standard output.
func printReport(_ report: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  print(String(decoding: try encoder.encode(report), as: UTF8.self))
}

/// What a long benchmark is at: a line that changes for a person who waits, lines of a log otherwise.
func showStage(_ text: String) {
  if Console.standardError.isTerminal {
    Console.standardError.setStatus(text)
  } else if !text.isEmpty {
    Console.standardError.writeLine(text)
  }
}

/// Lists given to an option, each element in a range.
func requireAll(_ values: [Int], _ option: String, atMost limit: Int) throws {
  for value in values { try requirePositive(value, option, atMost: limit) }
}

/// A table of milliseconds by stage: a row a measurement, a column a stage that took any.
func stageTable(_ rows: [(labels: [String], stages: [String: Double])], labels: [String], title: String) throws
  -> String
{
  let names = StageClock.Stage.allCases.map(\.name).filter { name in rows.contains { ($0.stages[name] ?? 0) >= 0.005 } }
  var table = Table(columns: labels.map { .init($0, .left) } + names.map { .init($0) })
  for row in rows { try table.append(row.labels + names.map { formatFixed(row.stages[$0] ?? 0, 2) }) }
  return "\(title)\n" + table.rendered()
}
