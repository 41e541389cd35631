import Observability

/// What the run is called, how long it is and where it writes.
public struct RunSection: Sendable, Equatable {
  /// Least severity that is logged: swift-log's names.
  public enum LogLevel: String, Sendable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
  }

  /// Names the run in logs and, when `directory` is null, its folder.
  public var name = "softgrpo"
  /// Folder of the run's files; null: `runs/NAME`.
  public var directory: String?
  /// Seeds the noise, the order of the prompts, generated tasks and fresh weights.
  public var seed = 1
  /// Steps of reinforcement: one batch of rollouts and its updates each.
  public var totalSteps = 100
  public var logLevel = LogLevel.info
  /// Steps between sample trajectories written as text; 0: never.
  public var sampleInterval = 10
  /// Warnings at which the run ends, after a checkpoint and with an error.
  public var stopWhen: [String] = []

  public init() {}
}

extension RunSection {
  func check(_ rules: inout Rules) {
    rules.require(
      !name.contains("/") && name != "." && name != "..",
      "run.name: names a folder and may not contain /, got \(quoted(name))")
  }
}

extension RunSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .text("name", \.name),
      .optionalText("directory", \.directory),
      .integer("seed", \.seed, 0...Int.max),
      .integer("total_steps", \.totalSteps, 1...1_000_000_000),
      .choice("log_level", \.logLevel),
      .integer("sample_interval", \.sampleInterval, 0...1_000_000_000),
      .parts("stop_when", \.stopWhen, of: WarningRule.names),
    ]
  }
}
