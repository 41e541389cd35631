import ArgumentParser
import Foundation
import Kernels
import Machine

/// What this process is, for errors that can come from anywhere in it.
enum ProgramRole {
  /// Has a lack of memory explained in the words of `command`.
  static func install(_ command: any ParsableCommand) {
    let path = String(describing: type(of: command).configuration.commandName ?? type(of: command)._commandName)
    var role = "softgrpo \(path)"
    if let worker = command as? Worker, let name = worker.name { role += " \(name)" }
    if command is Train { role += " (its learner)" }
    MemoryShortage.install(role: role, remedies: remedies(command) + "; or raise the limit")
  }

  /// What lowers the need of a command, the most effective first.
  private static func remedies(_ command: any ParsableCommand) -> String {
    switch command {
    case is Train, is Learner:
      "train adapters (lora.rank), lower learner.micro_batch_tokens, learner.activation_memory_budget or learner.threads, "
        + "or use a smaller model; --resume continues from the newest checkpoint"
    case is SupervisedFineTune:
      "train adapters (lora.rank), lower learner.micro_batch_tokens or learner.threads, or use a smaller model"
    case is Worker:
      "lower --batch-size (worker.batch_size) or --threads (worker.threads), give --no-gradients, or use --dtype int8"
    case is Update: "train adapters (--lora-rank), lower --micro-batch-tokens or --threads, or use a smaller model"
    case is Score: "lower --micro-batch-tokens or --threads, or use a smaller model"
    case is Rollout, is Evaluate:
      "lower --slots, --max-thinking-tokens, --max-answer-tokens or --threads, or use a smaller model"
    case is Generate: "lower --max-thinking-tokens, --max-answer-tokens or --threads, or use a smaller model"
    default: "use a smaller model or fewer threads"
    }
  }
}
