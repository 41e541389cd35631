import ArgumentParser
import Cluster
import Foundation
import Kernels
import Rollouts
import SoftThinking
import Tasks
import Transformer

struct Rollout: ParsableCommand {
  enum RewardChoice: String, ExpressibleByArgument, CaseIterable { case math, exact, none }

  static let configuration = CommandConfiguration(
    abstract: "Samples trajectories of a prompt file, with their log-probs and rewards.",
    discussion: """
      Writes a trajectory a line, groups in the order of the prompts (docs/trajectory-format.md). The same seed, model and \
      prompts give the same trajectories.
      """)

  @OptionGroup var options: ModelOptions
  @OptionGroup var prompts: PromptOptions
  @Option(help: "What a thinking step does.")
  var policy = ThinkingPolicy.Kind.gumbel
  @Option(help: "Trajectories of a prompt.")
  var groupSize = 8
  @OptionGroup var sampling: SamplingCommandOptions
  @Option(help: "Sequences decoded at once.")
  var slots = 32
  @Option(help: "Policy version recorded in the trajectories.")
  var policyVersion = 0
  @Option(help: "How completions are judged; none leaves the reward out.")
  var reward = RewardChoice.math
  @Option(help: "Where the trajectories go (JSONL).")
  var output: String

  func run() throws {
    try requirePositive(groupSize, "--group-size")
    try requirePositive(slots, "--slots", atMost: 4096)
    let policy = try sampling.policy(policy)
    let prompts = try prompts.read()
    self.prompts.warnOfReferences(prompts, for: RewardKind(rawValue: reward.rawValue)?.function)
    let loaded = try sampling.load(options.model)
    let course = try sampling.sampling(loaded)
    let tokens = try loaded.encodePrompts(prompts, longestCompletion: course.longestCompletion)
    let positions = (tokens.map(\.count).max() ?? 1) + course.longestCompletion
    var file = try AtomicFile(path: output)

    let stop = StopSignal()
    let team = options.team()
    let model = try options.prepare(loaded.source, positions: positions, team: team)
    let total = prompts.count * groupSize
    let engine = try SamplingEngine(
      model: model, slots: min(slots, total), maximumPositions: positions, team: team)
    for (index, prompt) in prompts.enumerated() {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: prompt.id, groupOrdinal: UInt64(index), prompt: tokens[index],
          sampleIndices: Array(0..<groupSize), policy: policy, options: course, noise: NoiseKey(seed: sampling.seed),
          policyVersion: policyVersion))
    }
    let text = loaded.textInterface
    let function = RewardKind(rawValue: reward.rawValue)?.function
    var progress = SamplingProgress(label: "rollout", total: total)
    let start = steadySeconds()
    var (finished, written) = (0, 0)
    var rewardSum = 0.0
    // Samples that ended before one that stands earlier in the file.
    var early: [Int: Trajectory] = [:]
    progress.update(completed: 0, tokens: 0)
    while !engine.isIdle {
      for sample in try engine.step() {
        var trajectory = sample.trajectory
        let prompt = prompts[Int(sample.requestID)]
        trajectory.reward = function?.reward(completion: text.completion(trajectory), answer: prompt.answer)
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
    let rate = Double(engine.statistics.sampledTokens) / max(1e-9, steadySeconds() - start)
    var summary = "\(engine.statistics.sampledTokens) tokens, \(Int(rate.rounded())) tokens/s"
    if function != nil { summary += ", mean reward \(String(format: "%.3f", rewardSum / Double(total)))" }
    progress.finish(completed: total, detail: summary)
  }
}
