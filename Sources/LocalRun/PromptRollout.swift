import Kernels
import Loading
import Machine
import Rollouts
import Tasks
import Thinking
import Trajectories
import Transformer

/// `softgrpo rollout`: samples trajectories of prompts on this machine, judged and in the order of the prompts.
public struct PromptRollout {
  /// Trajectories of a prompt.
  public var groupSize: Int
  /// Sequences decoded at once.
  public var slots: Int
  public var policy: ThinkingPolicy
  public var plan: CompletionPlan
  /// Of the noise: the same seed gives the same samples.
  public var seed: UInt64
  /// Recorded in the trajectories.
  public var policyVersion: Int
  /// How completions are judged; nil: they have no reward.
  public var rewards: RewardSum?

  public init(
    groupSize: Int, slots: Int, policy: ThinkingPolicy, plan: CompletionPlan, seed: UInt64, policyVersion: Int,
    rewards: RewardSum?
  ) {
    self.groupSize = groupSize
    self.slots = slots
    self.policy = policy
    self.plan = plan
    self.seed = seed
    self.policyVersion = policyVersion
    self.rewards = rewards
  }

  /// What sampling came to.
  public struct Summary: Sendable, Equatable {
    public var sampledTokens: Int
    public var tokensPerSecond: Double
    /// Trajectories that have a reward.
    public var judgedCount: Int
    /// Of those; nil: nothing was judged.
    public var meanReward: Double?
    /// Why the first of the others was not.
    public var unjudgedReason: String?
  }

  /// The positions that the longest of these sequences may have.
  public func positions(for tokens: [[Int32]]) -> Int { (tokens.map(\.count).max() ?? 1) + plan.longestCompletion }

  /// Samples all groups.
  ///
  /// - Parameters:
  ///   - tokens: of each prompt.
  ///   - model: prepared for `positions(for:)`.
  ///   - progress: called after every decoded step with the trajectories that are finished and the tokens sampled so far; what it
  ///     throws ends the sampling.
  ///   - write: takes the trajectories, group by group in the order of the prompts.
  /// - Throws: what sampling, a reward, `progress` and `write` throw.
  public func run(
    _ prompts: [Prompt], tokens: [[Int32]], model: PreparedModel, text: TextInterface, team: ThreadTeam,
    progress: (_ finished: Int, _ sampledTokens: Int) throws -> Void, write: (Trajectory) throws -> Void
  ) throws -> Summary {
    let total = prompts.count * groupSize
    let engine = try SamplingEngine(
      model: model, slots: min(slots, total), maximumPositions: positions(for: tokens), team: team)
    for (index, prompt) in prompts.enumerated() {
      try engine.submit(
        SamplingRequest(
          id: UInt64(index), promptID: prompt.id, groupOrdinal: UInt64(index), prompt: tokens[index],
          sampleIndices: Array(0..<groupSize), policy: policy, plan: plan, noise: NoiseKey(seed: seed),
          policyVersion: policyVersion))
    }
    let start = MonotonicClock.seconds()
    var (finished, written) = (0, 0)
    var (rewardSum, judged) = (0.0, 0)
    var reason: String?
    // Samples that ended before one that stands earlier in the file.
    var early: [Int: (trajectory: Trajectory, query: RewardQuery, asked: AskedCompletion?)] = [:]
    try progress(0, 0)
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
        let verdict = try rewards?.judge([next.query], asked: [next.asked])[0]
        if let reward = verdict?.total {
          next.trajectory.reward = reward
          (rewardSum, judged) = (rewardSum + Double(reward), judged + 1)
        }
        reason = reason ?? verdict?.reason
        try write(next.trajectory)
        written += 1
      }
      try progress(finished, engine.statistics.sampledTokens)
    }
    let count = engine.statistics.sampledTokens
    return Summary(
      sampledTokens: count, tokensPerSecond: Double(count) / max(1e-9, MonotonicClock.seconds() - start),
      judgedCount: judged, meanReward: judged == 0 ? nil : rewardSum / Double(judged), unjudgedReason: reason)
  }
}
