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

  @OptionGroup var start: RunStartOptions

  func validate() throws { try start.check(isResumed: resume) }

  func run() throws {
    let configuration = try options.load(start)
    let output = RunConsole("softgrpo", level: configuration.run.logLevel)
    if start.dryRun { return try printDryRun(configuration, output) }
    let run = try TrainingRun(
      configuration, start: try start.runStart(isResumed: resume), executable: executablePath(),
      stop: Interruption.ofRun(), logger: output.logger, console: output.console)
    let table = try run.run()
    if let table { print(table) }
  }
}

/// What a run would need, take and write here.
func printDryRun(_ configuration: RunConfiguration, _ output: RunConsole) throws {
  let dryRun = DryRun(
    configuration, executable: executablePath(), stop: Interruption.ofComputation("the dry run"), logger: output.logger,
    console: output.console)
  print(try dryRun.run(), terminator: "")
}
