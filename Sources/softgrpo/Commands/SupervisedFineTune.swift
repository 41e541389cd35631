import ArgumentParser
import Foundation
import LocalRun
import RunConfiguration

struct SupervisedFineTune: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sft",
    abstract: "Supervised warm-up on JSONL of prompts and completions, or on a generated task's own thoughts.")

  @OptionGroup var options: ConfigurationOptions

  @Option(help: "Directory of the resulting checkpoint; must not exist or be empty.")
  var output: String

  func run() throws {
    let configuration = try options.load()
    let console = RunConsole("sft", level: configuration.run.logLevel)
    if let files = try? FileManager.default.contentsOfDirectory(atPath: output), !files.isEmpty {
      throw CommandError("--output: \(output) exists and is not empty; name another directory")
    }
    try superviseModel(
      configuration, checkpoint: output, stop: Interruption.ofComputation("sft"), logger: console.logger,
      console: console.console)
  }
}
