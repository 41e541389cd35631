import ArgumentParser
import Foundation
import Kernels
import Machine
import Observability
import Parameters
import Rollouts
import Tasks
import Thinking
import Trajectories
import Transformer

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
    let positions = (tokens.map(\.count).max() ?? 1) + plan.longestCompletion
    var file = try AtomicFile(path: output)

    let stop = Interruption.ofComputation("rollout")
    let team = options.team()
    let model = try options.prepare(loaded.source, positions: positions, team: team)
    let total = prompts.count * groupSize
    let engine = try SamplingEngine(
      model: model, slots: min(slots, total), maximumPositions: positions, team: team)
    for (index, prompt) in prompts.enumerated() {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: prompt.id, groupOrdinal: UInt64(index), prompt: tokens[index],
          sampleIndices: Array(0..<groupSize), policy: policy, plan: plan, noise: NoiseKey(seed: sampling.seed),
          policyVersion: policyVersion))
    }
    let text = loaded.textInterface
    var progress = SamplingProgress(label: "rollout", total: total)
    let start = MonotonicClock.seconds()
    var (finished, written) = (0, 0)
    var (rewardSum, judged) = (0.0, 0)
    // Samples that ended before one that stands earlier in the file.
    var early: [Int: (trajectory: Trajectory, query: RewardQuery, asked: AskedCompletion?)] = [:]
    progress.update(completed: 0, tokens: 0)
    while !engine.isIdle {
      for sample in try engine.step() {
        let prompt = prompts[Int(sample.requestID)]
        let query = RewardQuery(
          promptID: prompt.id, question: prompt.text, answer: prompt.answer, fields: prompt.fields,
          completion: text.completion(sample.trajectory), group: Int(sample.requestID),
          sampleIndex: sample.trajectory.sampleIndex)
        // Whoever judges elsewhere does so while others are sampled.
        early[Int(sample.requestID) * groupSize + sample.trajectory.sampleIndex] = (
          sample.trajectory, query, rewards?.ask([query])[0]
        )
        finished += 1
      }
      while var next = early.removeValue(forKey: written) {
        if let reward = try rewards?.judge([next.query], asked: [next.asked])[0].total {
          next.trajectory.reward = reward
          (rewardSum, judged) = (rewardSum + Double(reward), judged + 1)
        }
        try file.write(line: next.trajectory.jsonLine())
        written += 1
      }
      if stop.isRequested { throw CommandError("rollout: interrupted; \(output) is not written") }
      progress.update(completed: finished, tokens: engine.statistics.sampledTokens)
    }
    try file.commit()
    let rate = Double(engine.statistics.sampledTokens) / max(1e-9, MonotonicClock.seconds() - start)
    var summary = "\(engine.statistics.sampledTokens) tokens, \(Int(rate.rounded())) tokens/s"
    if rewards != nil {
      summary += ", mean reward \(formatFixed(judged == 0 ? nil : rewardSum / Double(judged), 3))"
      if judged < total { summary += ", \(total - judged) not judged" }
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
