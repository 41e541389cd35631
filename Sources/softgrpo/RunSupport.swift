import ArgumentParser
import Foundation
import Learner
import Logging
import Machine
import Observability
import RunConfiguration

/// The configuration of a run, from a file and from the command line.
struct ConfigurationOptions: ParsableArguments {
  @Option(help: "Run configuration (YAML). See docs/configuration.md.")
  var config: String?

  @Option(name: .customLong("set"), help: "Overrides a key, as in rollout.group_size=16. May be given again.")
  var overrides: [String] = []

  /// - Parameter folder: of a run that is resumed: its own configuration is taken when no file is named, and it stays in that
  ///   folder.
  func load(resuming folder: String? = nil) throws -> RunConfiguration {
    guard let path = config ?? folder.map({ RunDirectory(path: $0).configurationPath }) else {
      throw CommandError("--config: name the run's configuration, for instance examples/multiply/config.yaml")
    }
    var configuration = try RunConfiguration.load(path: path, overrides: overrides)
    if let folder {
      func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
      if absolute(configuration.runDirectory) != absolute(folder) { configuration.run.directory = folder }
    }
    try configuration.validate(source: path)
    return configuration
  }
}

/// A run that is resumed by its folder alone, and one that is only tried out.
struct RunStartOptions: ParsableArguments {
  @Argument(help: "With --resume: the run's folder, as in runs/multiply, in place of --config.")
  var folder: String?

  @Flag(help: "Say what the run would need, take and write, from a short measurement; nothing is kept.")
  var dryRun = false

  /// - Throws: a `ValidationError` for a folder that has no use.
  func check(isResumed: Bool) throws {
    if let folder, !isResumed {
      throw ValidationError("'\(folder)': a run's folder belongs to --resume; a new run is named by --config FILE")
    }
    if dryRun, isResumed { throw ValidationError("--dry-run: tries a start out; it has no use with --resume") }
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

/// What Ctrl-C does, said as soon as it is pressed: the end itself may take as long as the step under way.
enum Interruption {
  /// A run that is trained: a checkpoint is written first.
  static func ofRun() -> StopSignal {
    let command = resumingCommand(CommandLine.arguments)
    return StopSignal {
      say(
        "interrupted: the step under way ends, then a checkpoint is written. To go on from it: \(command) "
          + "(Ctrl-C again ends at once, without the checkpoint)")
    }
  }

  /// What is computed anew by the same command.
  static func ofComputation(_ name: String) -> StopSignal {
    StopSignal {
      say("\(name) is interrupted and writes nothing; the same command starts it anew (Ctrl-C again ends at once)")
    }
  }

  /// A worker or a relay: what was started is delivered.
  static func ofMember(_ name: String, parent: Int32? = nil) -> StopSignal {
    if parent != nil { return StopSignal(.terminate) }
    return StopSignal {
      say(
        "\(name) is interrupted: it finishes and delivers what it has started, then ends; the same command joins again "
          + "(Ctrl-C again ends at once: what it was lent goes to others)")
    }
  }

  /// The command that continues a run which `arguments` started, as a shell takes it.
  static func resumingCommand(_ arguments: [String]) -> String {
    var words = arguments
    if !words.contains("--resume"), !words.contains("--resume-if-started") { words.append("--resume") }
    return words.map(quotedForShell).joined(separator: " ")
  }

  private static func quotedForShell(_ word: String) -> String {
    let plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,@%+"
    if !word.isEmpty, word.allSatisfy({ plain.contains($0) }) { return word }
    return "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
  }

  private static func say(_ text: String) { Console.standardError.writeLine("softgrpo: \(text)") }
}

/// The path of this program, for the workers that `train` starts.
func executablePath() -> String {
  (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
}
