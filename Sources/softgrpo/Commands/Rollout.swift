import ArgumentParser
import Foundation
import LocalRun
import Observability
import Parameters
import Tasks
import Thinking

struct Rollout: ParsableCommand {
  /// A reward, or none.
  struct RewardChoice: ExpressibleByArgument {
    var kind: RewardKind?

    init(kind: RewardKind?) { self.kind = kind }

    init?(argument: String) {
      kind = RewardKind(argument: argument)
      if kind == nil && argument != "none" { return nil }
    }

    static var allValueStrings: [String] { RewardKind.allValueStrings + ["none"] }
    var defaultValueDescription: String { kind?.name ?? "none" }
  }

  static let configuration = CommandConfiguration(
    abstract: "Samples trajectories of a prompt file, with their log-probs and rewards.",
    discussion: """
      Writes a trajectory a line, groups in the order of the prompts (docs/trajectory-format.md). The same seed, model and \
      prompts give the same trajectories.
      """)

  @OptionGroup var options: ModelOptions
  @OptionGroup var prompts: PromptOptions
  @Option(help: "What a thinking step does.")
  var policy = PolicyName(ThinkingPolicies.standard)
  @Option(help: "Trajectories of a prompt.")
  var groupSize = 8
  @OptionGroup var sampling: SamplingCommandOptions
  @Option(help: "Sequences decoded at once.")
  var slots = 32
  @Option(help: "Policy version recorded in the trajectories.")
  var policyVersion = 0
  @Option(
    help: ArgumentHelp(
      "How completions are judged (docs/rewards.md); none leaves the reward out.", discussion: RewardKind.lines))
  var reward = RewardChoice(kind: RewardKind(MathReward.name))
  @Option(help: "Where the trajectories go (JSONL).")
  var output: String

  func run() throws {
    try requirePositive(groupSize, "--group-size")
    try requirePositive(slots, "--slots", atMost: 4096)
    let policy = try sampling.policy(policy, besides: RewardKind.parameters)
    let rewards = try self.rewards()
    let prompts = try prompts.read()
    self.prompts.warnOfReferences(prompts, for: rewards)
    let loaded = try sampling.load(options.model)
    let plan = try sampling.plan(loaded)
    let tokens = try loaded.encodePrompts(prompts, longestCompletion: plan.longestCompletion)
    let rollout = PromptRollout(
      groupSize: groupSize, slots: slots, policy: policy, plan: plan, seed: sampling.seed, policyVersion: policyVersion,
      rewards: rewards)
    var file = try AtomicFile(path: output)

    let stop = Interruption.ofComputation("rollout")
    let team = options.team()
    let model = try options.prepare(loaded.source, positions: rollout.positions(for: tokens), team: team)
    let total = prompts.count * groupSize
    var progress = SamplingProgress(label: "rollout", total: total)
    let done = try rollout.run(
      prompts, tokens: tokens, model: model, text: loaded.textInterface, team: team,
      progress: { finished, tokens in
        if stop.isRequested { throw CommandError("rollout: interrupted; \(output) is not written") }
        progress.update(completed: finished, tokens: tokens)
      }, write: { try file.write(line: $0.jsonLine()) })
    try file.commit()
    var summary = "\(done.sampledTokens) tokens, \(Int(done.tokensPerSecond.rounded())) tokens/s"
    if rollout.rewards != nil {
      summary += ", mean reward \(formatFixed(done.meanReward, 3))"
      if done.judgedCount < total {
        summary += ", \(total - done.judgedCount) not judged (\(done.unjudgedReason ?? "no reason was given"))"
      }
    }
    progress.finish(completed: total, detail: summary)
  }

  /// - Throws: `CommandError` naming the option.
  private func rewards() throws -> RewardSum? {
    let values = try sampling.parameters.values(besides: RewardKind.parameters)
    if let kind = reward.kind { return try kind.sum(values) }
    if let unused = RewardKind.parameters.first(where: { values[$0.name] != nil }) {
      throw CommandError("\(ParameterArguments.flag(unused.name)): has no use with --reward none; remove it")
    }
    return nil
  }
}
