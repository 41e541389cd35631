import ArgumentParser
import Foundation
import Kernels
import Machine
import Observability

@main
struct SoftGRPO: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "softgrpo",
    abstract: "Trains language models to reason in soft tokens with reinforcement learning, on ordinary Linux boxes.",
    version: softgrpoVersion,
    subcommands: [
      Train.self, Learner.self, Worker.self, Relay.self, Status.self, Plot.self, Trace.self, DashboardCommand.self,
      SupervisedFineTune.self,
      Rollout.self, Score.self, Update.self,
      Evaluate.self, Generate.self, Tokenize.self, RenderTemplate.self, Reward.self, Method.self, Convert.self,
      KeyGeneration.self, Keys.self,
      Doctor.self,
      Bench.self,
    ])

  /// A mistake in the arguments is explained by ArgumentParser, with the usage; any other by its own message alone.
  static func main() {
    // A reader of the output that goes away (`| head`) ends nothing: whoever writes to it sees an error and goes on.
    signal(SIGPIPE, SIG_IGN)
    var command: any ParsableCommand
    let given = Array(CommandLine.arguments.dropFirst())
    do {
      let arguments = parameterisedArguments(given)
      try RepeatedOptions.check(arguments) { Self._dumpHelp() }
      command = try parseAsRoot(arguments)
    } catch {
      if let hint = PolicyArguments.suggestion(for: message(for: error), arguments: given) {
        Console.standardError.writeLine("softgrpo: \(hint)")
      }
      exit(withError: error)
    }
    ProgramRole.install(command)
    do { try command.run() } catch {
      if !StopSignal.wasInterrupted, error is ExitCode || exitCode(for: error) != .failure { exit(withError: error) }
      if !(error is ExitCode) {
        Console.standardError.setStatus("")
        Console.standardError.writeLine("softgrpo: \(userMessage(error))")
      }
      end(error is MemoryError ? MemoryShortage.exitStatus : ExitCode.failure.rawValue)
    }
    if StopSignal.wasInterrupted { end(0) }
  }

  /// Not `exit`: what libraries do at exit may wait for ever where threads or memory are short, which may be the error.
  private static func end(_ status: Int32) -> Never {
    fflush(nil)
    _exit(StopSignal.wasInterrupted ? StopSignal.interruptedStatus : status)
  }
}

/// The arguments, where the parameters of exchangeable parts are options of their own.
private func parameterisedArguments(_ arguments: [String]) -> [String] {
  guard let command = arguments.first else { return arguments }
  switch command {
  case "reward": return ParameterArguments.rewritten(arguments, names: ParameterArguments.names(RewardKind.parameters))
  case "rollout", "eval":
    return ParameterArguments.rewritten(
      arguments, names: ParameterArguments.names(PolicyArguments.parameters + RewardKind.parameters))
  case "update": return ParameterArguments.rewritten(arguments, names: ParameterArguments.names(Update.parameters))
  default:
    return PolicyArguments.isTaken(by: arguments)
      ? ParameterArguments.rewritten(arguments, names: ParameterArguments.names(PolicyArguments.parameters)) : arguments
  }
}

/// The version that `--version` prints and that travels in fingerprints.
let softgrpoVersion = buildVersion
