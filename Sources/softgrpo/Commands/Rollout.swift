import ArgumentParser
import Cluster
import Foundation
import Kernels
import Observability
import Rollouts
import SoftThinking
import Tasks
import Transformer

struct Rollout: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Samples trajectories of a prompt file, with rewards, into a trajectory file.")

  enum RewardKind: String, ExpressibleByArgument, CaseIterable { case math, exact, none }

  @OptionGroup var options: ModelOptions
  @OptionGroup var sampling: SamplingFlags

  @Option(help: "Prompt file (JSONL).") var prompts: String
  @Option(help: "Field of the prompt's text.") var promptField = "prompt"
  @Option(help: "Field of the reference answer.") var answerField = "answer"
  @Option(help: "gumbel, none or discrete.") var policy = "gumbel"
  @Option(help: "Trajectories of a prompt.") var groupSize = 8
  @Option(help: "Seed of the noise.") var seed: UInt64 = 1
  @Option(help: "Policy version recorded in the trajectories.") var policyVersion = 0
  @Option(help: "math, exact or none.") var reward = RewardKind.math
  @Option(help: "Trajectory file to write (JSONL).") var output: String

  func validate() throws {
    if groupSize < 1 { throw ValidationError("--group-size: must be at least 1, got \(groupSize)") }
  }

  func run() throws {
    let kinds = try thinkingKinds(policy, option: "--policy")
    guard kinds.count == 1, let kind = kinds.first else { throw CommandError("--policy: name one thinking policy") }
    let loaded = try sampling.load(options.model)
    let budget = try sampling.options(loaded)
    let items = try encodedPrompts(
      prompts, fields: PromptFields(prompt: promptField, answer: answerField), model: loaded, options: budget)
    let team = options.team()
    let longest = (items.map(\.prompt.count).max() ?? 1) + budget.longestCompletion
    let model = PreparedModel(
      try ModelWeights(source: loaded.source), backend: try matrixBackend(for: options.computeType), trainable: false,
      positions: longest, team: team)
    let engine = try SamplingEngine(
      model: model, slots: min(sampling.slots, items.count * groupSize), maximumPositions: longest, team: team)
    for (index, item) in items.enumerated() {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: item.id, groupOrdinal: UInt64(index), prompt: item.prompt,
          sampleIndices: Array(0..<groupSize), policy: sampling.policy(kind), options: budget,
          noise: NoiseKey(seed: seed), policyVersion: policyVersion))
    }
    let function: (any RewardFunction)? =
      switch reward {
      case .math: MathReward()
      case .exact: ExactReward()
      case .none: nil
      }
    let text = loaded.textInterface
    var trajectories: [Trajectory] = []
    var progress = ProgressReporter(
      label: "rollout", total: items.count * groupSize, unit: "sample", console: .standardError)
    let start = Date()
    while !engine.isIdle {
      for sample in try engine.step() {
        var trajectory = sample.trajectory
        trajectory.reward = function?.reward(
          completion: text.completion(trajectory), answer: items[Int(sample.requestID)].answer)
        trajectories.append(trajectory)
      }
      let rate = Double(engine.statistics.sampledTokens) / max(1e-9, Date().timeIntervalSince(start))
      progress.update(
        completed: trajectories.count, at: ProcessInfo.processInfo.systemUptime, detail: "\(formatFixed(rate, 0)) tok/s"
      )
    }
    progress.finish(completed: trajectories.count, at: ProcessInfo.processInfo.systemUptime)
    trajectories.sort { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }
    // The whole file or nothing.
    let partial = output + ".partial"
    do { try TrajectoryFile.write(trajectories, path: partial) } catch {
      unlink(partial)
      throw error
    }
    guard rename(partial, output) == 0 else {
      unlink(partial)
      throw CommandError("\(output): cannot be written: \(String(cString: strerror(errno)))")
    }
  }
}
