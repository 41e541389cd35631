import ArgumentParser
import Foundation

@main
struct SoftGRPO: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "softgrpo",
    abstract: "Trains language models to reason in soft tokens with reinforcement learning, on ordinary Linux boxes.",
    version: softgrpoVersion,
    subcommands: [
      Train.self, Learner.self, Worker.self, SupervisedFineTune.self, Score.self, Update.self,
    ])
}

/// The version that `--version` prints and that travels in fingerprints.
let softgrpoVersion = "0.1.0"
