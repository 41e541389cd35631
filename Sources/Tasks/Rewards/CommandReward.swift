import JSON
import Parameters

/// A reward of the user's own: a command that stays running, reads a completion a line and answers with its reward
/// (`docs/rewards.md`).
///
/// Nothing that the command does ends the run: completions that it does not judge are not trained on.
public struct CommandReward: ConsultedReward {
  public static let name = "command"
  public static let summary = "The reward that the command `command_line` gives; 1 or more counts as correct."
  public static let parameters: [Parameter] = [
    .text(
      "command_line", "", mayBeEmpty: true, "The command of `command`, for a shell: JSON lines in, JSON lines out."),
    .number(
      "command_deadline", 60, .above(0, upTo: 86_400), "Within what `command` must judge a completion.", unit: "seconds"
    ),
    .integer("command_parallel", 16, 1...4096, "Completions that `command` is given at once."),
    .choice(
      "command_role", "correctness", of: RewardRole.allCases.map(\.rawValue),
      "Whether a 1 of `command` means a correct answer, or `command` only shapes the training."),
  ]
  public static let role = RewardRole.correctness

  public let role: RewardRole
  private let session: CommandSession

  public init(_ values: ParameterValues) {
    role = RewardRole(rawValue: values.text("command_role")) ?? Self.role
    session = CommandSession(
      command: values.text("command_line"), deadline: .seconds(values.number("command_deadline")),
      parallel: values.integer("command_parallel"))
  }

  public func validate(longestCompletion: Int) throws {
    guard !session.command.isEmpty else {
      throw ParameterError("command_line: must name a command when reward.command is not 0")
    }
  }

  public func ask(_ queries: [RewardQuery]) -> [PendingVerdict] { session.ask(queries.map(\.outline)) }
}
