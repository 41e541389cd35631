import ArgumentParser
import Foundation
import LocalRun
import RunConfiguration

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains on one machine: a learner and its worker processes, over loopback.",
    discussion: "The same code path as separate boxes: `softgrpo learner` on one, `softgrpo worker` on the others.")

  @OptionGroup var options: ConfigurationOptions

  @Flag(help: "Continue the run in its directory from the newest checkpoint.")
  var resume = false

  func run() throws {
    let configuration = try options.load()
    let output = RunConsole("softgrpo", level: configuration.run.logLevel)
    let run = try TrainingRun(
      configuration, resume: resume, executable: executablePath(), stop: Interruption.ofRun(), logger: output.logger,
      console: output.console)
    let table = try run.run()
    if let table { print(table) }
  }
}
