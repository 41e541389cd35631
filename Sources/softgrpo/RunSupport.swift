import ArgumentParser
import Cluster
import Foundation
import Logging
import Observability
import RunConfiguration

/// The configuration of a run, from a file and from the command line.
struct ConfigurationOptions: ParsableArguments {
  @Option(help: "Run configuration (YAML). See docs/configuration.md.")
  var config: String?

  @Option(name: .customLong("set"), help: "Overrides a key, as in rollout.group_size=16. May be given again.")
  var overrides: [String] = []

  /// - Parameter resuming: take the run's own resolved configuration when no file is named.
  func load() throws -> RunConfiguration {
    guard let config else {
      throw CommandError("--config: name the run's configuration, for instance examples/multiply/config.yaml")
    }
    let configuration = try RunConfiguration.load(path: config, overrides: overrides)
    try configuration.validate(source: config)
    return configuration
  }
}

/// Logging and the console of a long-running command.
struct RunConsole {
  let console = Console.standardError
  let logger: Logger

  init(_ label: String, level: RunConfiguration.Run.LogLevel = .info) {
    let console = console
    let level = Logger.Level(rawValue: level.rawValue) ?? .info
    logger = Logger(label: label) { ConsoleLogHandler(label: $0, level: level, console: console) }
  }
}

/// The path of this program, for the workers that `train` starts.
func executablePath() -> String {
  (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
}
