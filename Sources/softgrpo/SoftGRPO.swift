import ArgumentParser
import Cluster
import Foundation
import Observability

@main
struct SoftGRPO: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "softgrpo",
    abstract: "Trains language models to reason in soft tokens with reinforcement learning, on ordinary Linux boxes.",
    version: softgrpoVersion,
    subcommands: [
      Train.self, Learner.self, Worker.self, Relay.self, SupervisedFineTune.self, Rollout.self, Score.self, Update.self,
      Evaluate.self, Generate.self, Tokenize.self, RenderTemplate.self, Reward.self, Convert.self, KeyGeneration.self,
      Doctor.self, Bench.self,
    ])

  /// A mistake in the arguments is explained by ArgumentParser, with the usage; any other by its own message alone.
  static func main() {
    var command: any ParsableCommand
    do { command = try parseAsRoot() } catch { exit(withError: error) }
    do { try command.run() } catch {
      if error is ExitCode || exitCode(for: error) != .failure { exit(withError: error) }
      Console.standardError.setStatus("")
      Console.standardError.writeLine("softgrpo: \(userMessage(error))")
      // Not `exit`: what libraries do at exit may wait for ever where threads or memory are short, which may be the error.
      fflush(nil)
      _exit(ExitCode.failure.rawValue)
    }
  }
}

/// The version that `--version` prints and that travels in fingerprints.
let softgrpoVersion = buildVersion
