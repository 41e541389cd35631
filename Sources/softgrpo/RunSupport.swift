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

  /// - Parameter start: a run that is resumed or forked has its own configuration where no file is named, and its folder.
  func load(_ start: RunStartOptions? = nil) throws -> RunConfiguration {
    let origin = try start?.origin()
    guard let path = config ?? origin.map({ RunDirectory(path: $0).configurationPath }) else {
      throw CommandError("--config: name the run's configuration, for instance examples/multiply/config.yaml")
    }
    var configuration = try RunConfiguration.load(path: path, overrides: overrides)
    if let start, let folder = start.folder {
      func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
      if absolute(configuration.runDirectory) != absolute(folder) { configuration.run.directory = folder }
      // Two runs of one name could not be told apart in a dashboard.
      if start.fork != nil, config == nil, !overrides.contains(where: { $0.hasPrefix("run.name=") }) {
        configuration.run.name = URL(fileURLWithPath: folder).lastPathComponent
      }
    }
    try configuration.validate(source: path)
    return configuration
  }
}

/// A run that goes on by its folder alone, one that goes on from another run, and one that is only tried out.
struct RunStartOptions: ParsableArguments {
  @Argument(
    help:
      "With --resume: the run's folder, as in runs/multiply, in place of --config. With --fork: that of the new run.")
  var folder: String?

  @Option(
    help: "With --resume: go on from the kept checkpoint of this step; later checkpoints and records are removed.")
  var resumeStep: Int?

  @Option(
    help: ArgumentHelp(
      "Go on from the checkpoint of another run in a folder of its own, as in --fork runs/a@200 runs/b; without @ from the newest.",
      valueName: "run@step"))
  var fork: String?

  @Flag(help: "Say what the run would need, take and write, from a short measurement; nothing is kept.")
  var dryRun = false

  /// - Throws: a `ValidationError` for what has no use.
  func check(isResumed: Bool) throws {
    if fork != nil {
      if isResumed {
        throw ValidationError("--fork: begins a run in a new folder; a fork that has begun goes on with --resume alone")
      }
      guard folder != nil else {
        throw ValidationError("--fork: name the new run's folder after it, as in --fork runs/a@200 runs/b")
      }
      _ = try forkPoint()
    } else if let folder, !isResumed {
      throw ValidationError("'\(folder)': a run's folder belongs to --resume; a new run is named by --config FILE")
    }
    if let resumeStep {
      guard isResumed else { throw ValidationError("--resume-step: belongs to --resume") }
      guard resumeStep >= 0 else { throw ValidationError("--resume-step: must be a step, got \(resumeStep)") }
    }
    if dryRun, isResumed || fork != nil {
      throw ValidationError("--dry-run: tries a start out; it has no use with --resume or --fork")
    }
  }

  /// The folder and the step of `--fork`; a step of nil: the newest.
  private func forkPoint() throws -> (folder: String, step: Int?)? {
    guard let fork else { return nil }
    guard let at = fork.lastIndex(of: "@") else { return (fork, nil) }
    let (folder, digits) = (String(fork[..<at]), fork[fork.index(after: at)...])
    guard !folder.isEmpty, let step = Int(digits), step >= 0 else {
      throw ValidationError("--fork: must be RUN@STEP, as in runs/a@200, or RUN, got \(fork)")
    }
    return (folder, step)
  }

  /// The folder with the configuration of a run that is resumed or forked.
  fileprivate func origin() throws -> String? { try forkPoint()?.folder ?? folder }

  /// - Parameter isResumed: whether the run's own folder holds it.
  func runStart(isResumed: Bool) throws -> RunStart {
    if let (folder, step) = try forkPoint() { return .fork(RunDirectory(path: folder), step: step) }
    return isResumed ? .resume(step: resumeStep) : .new
  }
}

/// Logging and the console of a long-running command.
struct RunConsole {
  let console = Console.standardError
  let logger: Logger

  init(_ label: String, level: RunSection.LogLevel = .info) {
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

  /// What goes on from a file of its own by the same command.
  static func ofComputation(_ name: String, keptIn path: String) -> StopSignal {
    StopSignal {
      say("\(name) is interrupted; the same command goes on from \(path) (Ctrl-C again ends at once)")
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

  /// The command that continues a run which `arguments` started, as a shell takes it: from its newest checkpoint, whatever it began
  /// with.
  static func resumingCommand(_ arguments: [String]) -> String {
    var words: [String] = []
    var rest = arguments[...]
    while let word = rest.popFirst() {
      let name = word.prefix { $0 != "=" }
      if name == "--fork" || name == "--resume-step" {
        if name == word { _ = rest.popFirst() }
      } else {
        words.append(word)
      }
    }
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
