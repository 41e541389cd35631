import ArgumentParser
import Cluster
import Foundation

@main
struct SoftGRPO: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "softgrpo",
    abstract: "Trains language models to reason in soft tokens with reinforcement learning, on ordinary Linux boxes.",
    version: softgrpoVersion,
    subcommands: [
      Train.self, Learner.self, Worker.self, SupervisedFineTune.self, Rollout.self, Score.self, Update.self,
      Evaluate.self, Generate.self, Tokenize.self, Reward.self, Convert.self, Doctor.self,
    ])
}

/// The version that `--version` prints and that travels in fingerprints.
let softgrpoVersion = buildVersion
