import ArgumentParser
import Foundation
import Kernels
import Machine
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
  @Option(help: "How completions are judged; none leaves the reward out.")
  var reward = RewardChoice(kind: RewardKind(MathReward.name))
  @Option(help: "Where the trajectories go (JSONL).")
  var output: String

  func run() throws {
    try requirePositive(groupSize, "--group-size")
    try requirePositive(slots, "--slots", atMost: 4096)
    let policy = try sampling.policy(policy)
    let prompts = try prompts.read()
    self.prompts.warnOfReferences(prompts, for: try reward.kind?.sum())
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
    let rewards = try reward.kind?.sum()
    var progress = SamplingProgress(label: "rollout", total: total)
    let start = MonotonicClock.seconds()
    var (finished, written) = (0, 0)
    var rewardSum = 0.0
    // Samples that ended before one that stands earlier in the file.
    var early: [Int: Trajectory] = [:]
    progress.update(completed: 0, tokens: 0)
    while !engine.isIdle {
      for sample in try engine.step() {
        var trajectory = sample.trajectory
        let prompt = prompts[Int(sample.requestID)]
        let query = RewardQuery(
          promptID: prompt.id, question: prompt.text, answer: prompt.answer, fields: prompt.fields,
          completion: text.completion(trajectory))
        trajectory.reward = try rewards?.judge([query])[0].total
        rewardSum += Double(trajectory.reward ?? 0)
        early[Int(sample.requestID) * groupSize + trajectory.sampleIndex] = trajectory
        finished += 1
      }
      while let next = early.removeValue(forKey: written) {
        try file.write(line: next.jsonLine())
        written += 1
      }
      if stop.isRequested { throw CommandError("rollout: interrupted; \(output) is not written") }
      progress.update(completed: finished, tokens: engine.statistics.sampledTokens)
    }
    try file.commit()
    let rate = Double(engine.statistics.sampledTokens) / max(1e-9, MonotonicClock.seconds() - start)
    var summary = "\(engine.statistics.sampledTokens) tokens, \(Int(rate.rounded())) tokens/s"
    if rewards != nil { summary += ", mean reward \(String(format: "%.3f", rewardSum / Double(total)))" }
    progress.finish(completed: total, detail: summary)
  }
}
