import Dispatch
import Logging
import Machine
import RunConfiguration
import Sessions
import Tasks
import Training
import Trajectories
import Verifier

/// Has samples judged: as they arrive where somebody else judges, and all of a step's before it is trained.
struct StepJudging {
  private let subject: TrainingSubject
  private let stop: StopSignal
  private let logger: Logger
  /// Steps in a row without a judged sample after which the run ends; 0: it goes on.
  private let unjudgedLimit: Int
  /// Rewards are made up, so that there is a gradient to measure.
  private let isRehearsal: Bool
  private var early = EarlyJudging()
  private var unjudgedSteps = 0

  init(
    _ subject: TrainingSubject, unjudgedLimit: Int, isRehearsal: Bool, stop: StopSignal, logger: Logger
  ) {
    self.subject = subject
    self.unjudgedLimit = unjudgedLimit
    self.isRehearsal = isRehearsal
    self.stop = stop
    self.logger = logger
  }

  /// Whether a program or an endpoint judges.
  var consults: Bool { subject.rewards.consults }

  /// Asks about samples that have just arrived.
  mutating func arrived(_ samples: [CollectedTrajectory], of steps: [StepQueue.Step]) {
    early.arrived(samples, of: steps, subject)
  }

  /// A group's trajectories with their rewards, for its scheduler; without one where it could not be judged.
  mutating func rewarded(_ trajectories: [Trajectory], _ prompt: Prompt) throws -> [Trajectory] {
    let queries = trajectories.map { subject.query($0, prompt: prompt) }
    let judged = try subject.rewards.judge(queries, asked: consults ? early.asked(queries, subject) : [])
    return zip(trajectories, judged).map { trajectory, judged in
      var trajectory = trajectory
      trajectory.reward = judged.total
      return trajectory
    }
  }

  /// Has a step's samples judged, waits for those who judge elsewhere, and forgets what was asked about groups below `ordinal`.
  ///
  /// - Returns: nil when a stop was requested meanwhile.
  mutating func judge(_ queries: [RewardQuery], forgettingBelow ordinal: Int) throws -> [JudgedCompletion]? {
    defer { early.forget(below: ordinal) }
    guard consults else { return try subject.rewards.judge(queries) }
    let asked = early.asked(queries, subject)
    for completion in asked {
      while !completion.wait(until: .now() + .milliseconds(200)) {
        if stop.isRequested { return nil }
      }
    }
    return try subject.rewards.judge(queries, asked: asked)
  }

  /// The samples with their rewards, without those that could not be judged: a group's statistics do not know them.
  ///
  /// - Throws: `RoleError` when `reward.stop_after_unjudged` steps in a row had no judged sample.
  mutating func rewarded(
    _ samples: [CollectedTrajectory], _ judged: [JudgedCompletion], _ queries: [RewardQuery], step: Int
  ) throws -> [CollectedTrajectory] {
    var kept: [CollectedTrajectory] = []
    for ((sample, judgement), query) in zip(zip(samples, judged), queries) {
      guard let total = isRehearsal ? Float(sample.trajectory.sampleIndex % 2) : judgement.total else { continue }
      var sample = sample
      sample.trajectory.reward = total
      sample.rewards = judgement.values.compactMap { $0 }
      sample.answer = AnswerExtraction.finalAnswer(in: query.completion.text)
      kept.append(sample)
    }
    let reason = judged.lazy.compactMap(\.reason).first
    guard !kept.isEmpty else {
      try noteUnjudged(step: step, sampleCount: samples.count, reason: reason ?? "")
      return []
    }
    unjudgedSteps = 0
    if kept.count < samples.count {
      logger.warning(
        "step \(step): \(samples.count - kept.count) of \(samples.count) samples could not be judged and are not trained on: \(reason ?? "")"
      )
    }
    return kept
  }

  private mutating func noteUnjudged(step: Int, sampleCount: Int, reason: String) throws {
    unjudgedSteps += 1
    guard unjudgedLimit == 0 || unjudgedSteps < unjudgedLimit else {
      throw RoleError(
        "step \(step): none of its \(sampleCount) samples could be judged (\(reason)), for \(unjudgedSteps) steps in "
          + "a row (reward.stop_after_unjudged \(unjudgedLimit)); the run can be continued with --resume when that is mended"
      )
    }
    let count = "\(unjudgedSteps) such step\(unjudgedSteps == 1 ? "" : "s in a row")"
    logger.error(
      "step \(step): NONE of its \(sampleCount) samples could be judged, so it trains nothing (\(count)): \(reason)")
    if unjudgedLimit == 0 {
      logger.notice("the run goes on; reward.stop_after_unjudged: N would end it after N such steps in a row")
    }
  }
}
