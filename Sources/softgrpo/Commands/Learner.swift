import ArgumentParser
import Foundation
import Learner
import RunConfiguration

struct Learner: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The central learner: leases prompts, collects trajectories, updates and broadcasts the weights.")

  @OptionGroup var options: ConfigurationOptions

  @Flag(help: "Continue the run in its directory from the newest checkpoint.")
  var resume = false

  @Flag(help: "Continue the run when its directory holds one, start it otherwise (for containers that restart).")
  var resumeIfStarted = false

  @Option(
    help: "Folder of keys that `softgrpo keygen --cluster` made. Default: learner.server_key and authorized_workers.")
  var keys: String?

  @Flag(help: "Permit sockets that other machines can reach, without encryption or authentication.")
  var insecure = false

  @OptionGroup var start: RunStartOptions

  func validate() throws {
    try start.check(isResumed: resume || resumeIfStarted)
    // A container that restarts would begin there again and again.
    if resumeIfStarted, start.resumeStep != nil { throw ValidationError("--resume-step: belongs to --resume") }
  }

  func run() throws {
    let configuration = try options.load(start)
    let output = RunConsole("learner", level: configuration.run.logLevel)
    if start.dryRun { return try printDryRun(configuration, output) }
    let isStarted = RunDirectory(path: configuration.runDirectory).exists
    var serviceOptions = LearnerService.Options(
      start: try start.runStart(isResumed: resume || (resumeIfStarted && isStarted)), allowInsecure: insecure,
      keys: keys)
    serviceOptions.servesDashboard = true
    let service = try LearnerService(
      configuration, serviceOptions,
      stop: Interruption.ofRun(), logger: output.logger, console: output.console)
    try service.prepareDirectory()
    try service.warmUp()
    let logger = output.logger
    try service.run { frontEnd in
      logger.info(
        "listening at \(frontEnd.controlEndpoint); weights are announced at \(frontEnd.announcementEndpoint)")
    }
  }
}
