import Dispatch
import Foundation
import FrontEnd
import Machine
import Observability
import Sessions
import SoftThinking
import Tasks
import Training
import WeightSync

// A step of a run: its samples, its updates, its new version.
extension LearnerService {
  /// One batch of rollouts and its updates. Workers meanwhile sample for the steps that are submitted ahead.
  ///
  /// - Returns: false when a stop was requested while waiting; prompts that were not trained on are sampled again on resumption.
  func step(_ frontEnd: LearnerFrontEnd, _ update: BatchUpdate, _ queue: inout StepQueue) throws -> Bool {
    let start = MonotonicClock.seconds()
    for ahead in try queue.draw(at: run.step) {
      try submit(
        StepGroups.requests(ahead, scheduler: queue.scheduler), due: ahead.number, to: frontEnd)
    }
    guard let current = queue.current, let groups = try collect(frontEnd, current, &queue) else { return false }
    let collected = MonotonicClock.seconds()

    submitted = submitted.filter { $0.key >= current.ordinals.upperBound }
    let training = groups.training
    let prompts = Dictionary(
      uniqueKeysWithValues: training.map { ($0.samples[0].trajectory.groupID, $0.prompt) })
    let collectedSamples = training.flatMap(\.samples)
    guard !collectedSamples.isEmpty else {
      throw ClusterError(
        "step \(run.step + 1): nothing is left to train on: the scheduler \(configuration.rollout.scheduler) dropped all of \(groups.droppedCount) groups, or "
          + "every sample was set aside after \(configuration.worker.maxLossesPerSample) workers were lost with it; see the workers' "
          + "logs")
    }
    let queries = collectedSamples.map { subject.query($0.trajectory, prompt: prompts[$0.trajectory.groupID]!) }
    guard let judged = try judge(queries) else { return false }
    judging.forget(below: current.ordinals.upperBound)
    let samples = try rewarded(collectedSamples, judged, queries)
    let rewardsCame = MonotonicClock.seconds()
    let trajectories = samples.map(\.trajectory)
    for group in training {
      logger.debug(
        "step \(run.step + 1) trains group \(group.samples[0].trajectory.groupID): samples \(group.samples.map(\.trajectory.sampleIndex))"
      )
    }
    try tell { try $0.sampled(SampledBatch(step: run.step + 1, trajectories: trajectories, prompts: prompts)) }
    let version = run.step
    // Of a step that nobody judged nothing is learned: the weights stay, under the next version's name.
    let outcome =
      samples.isEmpty
      ? BatchUpdate.Outcome()
      : try update.run(
        samples, state: subject.state, model: &model, version: version, miniBatch: configuration.miniBatchSize)
    let updated = MonotonicClock.seconds()
    run.step += 1
    run.optimizerStep = subject.state.step
    run.advantage = try update.advantageState()
    queue.finish(groups.concluded(trajectories))
    let state = try queue.state
    (run.nextGroupOrdinal, run.task) = (state.nextOrdinal, state.prompts)
    (run.scheduler, run.pending) = (state.scheduler, state.pending)
    // Before the broadcast: what is sent from then on belongs to the next step.
    let statistics = frontEnd.statistics()
    try publish(frontEnd)
    let published = MonotonicClock.seconds()
    var record = StepMetrics(
      step: run.step, trajectories: trajectories, rewardNames: subject.rewards.names, judged: judged,
      withoutAnswer: subject.rewards.shareWithoutAnswer(queries, judged), outcome: outcome,
      version: version, subject: subject, cluster: statistics, wireBytes: recordedWireBytes,
      weightsDensity: weightsDensity, before: recordedStatistics, sampling: Self.samplingSeconds(groups.completed),
      isPartial: configuration.rollout.partialRollouts, judging: rewardsCame - collected,
      times: (start, collected, updated, published)
    ).record
    record.metrics[MetricName.droppedGroups] = Double(groups.droppedCount)
    record.metrics[MetricName.epoch] = run.task.epoch
    if let summary = verification?.summary {
      record.metrics[MetricName.verified] = Double(summary.replayed)
      record.metrics[MetricName.verifiedForeign] = Double(summary.foreign)
      record.metrics[MetricName.notVerifiable] = Double(summary.unknownVersions)
      record.metrics[MetricName.caught] = Double(summary.caught)
      record.metrics[MetricName.timeVerification] = summary.seconds
    }
    record.metrics[MetricName.verifiedLeaves] = Double(update.gradient.verified)
    update.gradient.verified = 0
    record.metrics.merge(measuredBetweenSteps) { $1 }
    measuredBetweenSteps = [:]
    record.metrics.merge(try evaluateIfDue()) { $1 }
    recordedWireBytes = statistics.weightBytesSent
    recordedStatistics = statistics
    let report = StepReport(
      step: run.step, record: record, trajectories: trajectories, queries: Self.judgedQueries(queries, judged),
      advantages: outcome.credits.map(\.advantages), leafRows: outcome.leafRows, identity: identity,
      times: (start, collected, updated, published))
    try tell { try $0.stepped(report) }
    return true
  }

  /// Those that were judged, and so were trained on.
  private static func judgedQueries(_ queries: [RewardQuery], _ judged: [JudgedCompletion]) -> [RewardQuery] {
    zip(queries, judged).compactMap { $1.total == nil ? nil : $0 }
  }

  /// Why an observer wants the run to end; nil: none does.
  var runStop: RunStop? { watching.lazy.compactMap(\.stop).first ?? patienceStop }

  /// Tells every observer.
  func tell(_ event: (any RunObserver) throws -> Void) rethrows {
    for observer in watching { try event(observer) }
  }

  /// The samples with their rewards, without those that could not be judged: a group's statistics do not know them.
  private func rewarded(
    _ samples: [CollectedTrajectory], _ judged: [JudgedCompletion], _ queries: [RewardQuery]
  ) throws -> [CollectedTrajectory] {
    var kept: [CollectedTrajectory] = []
    for ((sample, judgement), query) in zip(zip(samples, judged), queries) {
      guard let total = options.isRehearsal ? Float(sample.trajectory.sampleIndex % 2) : judgement.total else {
        continue
      }
      var sample = sample
      sample.trajectory.reward = total
      sample.rewards = judgement.values.compactMap { $0 }
      sample.answer = AnswerExtraction.finalAnswer(in: query.completion.text)
      kept.append(sample)
    }
    let reason = judged.lazy.compactMap(\.reason).first
    guard !kept.isEmpty else {
      unjudgedSteps += 1
      let limit = configuration.reward.stopAfterUnjudged
      guard limit == 0 || unjudgedSteps < limit else {
        throw ClusterError(
          "step \(run.step + 1): none of its \(samples.count) samples could be judged (\(reason ?? "")), for \(unjudgedSteps) steps in "
            + "a row (reward.stop_after_unjudged \(limit)); the run can be continued with --resume when that is mended")
      }
      let count = "\(unjudgedSteps) such step\(unjudgedSteps == 1 ? "" : "s in a row")"
      logger.error(
        "step \(run.step + 1): NONE of its \(samples.count) samples could be judged, so it trains nothing (\(count)): \(reason ?? "")"
      )
      if limit == 0 {
        logger.notice("the run goes on; reward.stop_after_unjudged: N would end it after N such steps in a row")
      }
      return []
    }
    unjudgedSteps = 0
    if kept.count < samples.count {
      logger.warning(
        "step \(run.step + 1): \(samples.count - kept.count) of \(samples.count) samples could not be judged and are not trained on: \(reason ?? "")"
      )
    }
    return kept
  }

  /// Has a step's samples judged, and waits for those who judge elsewhere.
  ///
  /// - Returns: nil when a stop was requested meanwhile.
  private func judge(_ queries: [RewardQuery]) throws -> [JudgedCompletion]? {
    guard subject.rewards.consults else { return try subject.rewards.judge(queries) }
    let asked = judging.asked(queries, subject)
    for completion in asked {
      while !completion.wait(until: .now() + .milliseconds(200)) {
        if stop.isRequested { return nil }
      }
    }
    return try subject.rewards.judge(queries, asked: asked)
  }

  private func submit(_ requests: [StepGroups.Request], due version: Int, to frontEnd: LearnerFrontEnd) throws {
    try frontEnd.submit(
      try requests.map { request in
        var group = try subject.group(request, due: version)
        group.dueVersion = version
        group.continuesAcrossVersions = configuration.rollout.partialRollouts
        submitted[group.ordinal] = group
        return group
      })
  }

  /// From the first grant of a step's samples to its last result; nil when that is not known.
  private static func samplingSeconds(_ groups: [CompletedGroup]) -> Double? {
    guard let first = groups.compactMap(\.firstGranted).min(), let last = groups.compactMap(\.completed).max() else {
      return nil
    }
    return (last - first) / .seconds(1)
  }

  /// Waits for a step's groups and their children; those of later steps stay with the front end. There is no limit to the wait:
  /// workers may come later, and the log says who is missing.
  private func collect(
    _ frontEnd: LearnerFrontEnd, _ step: StepQueue.Step, _ queue: inout StepQueue
  ) throws -> StepGroups? {
    var groups = try StepGroups(step, scheduler: queue.scheduler)
    var lastNotice = MonotonicClock.seconds()
    let consults = subject.rewards.consults
    verification?.begin(model, version: run.step)
    defer { verification?.end() }
    while try groups.missing > 0 || !isSettled(&groups, frontEnd) {
      if groups.missing > 0 {
        let replacements = try groups.replace(by: try queue.replace(groups.missing))
        logger.debug("step \(run.step + 1) draws \(replacements.count) groups in the place of dropped ones")
        try submit(replacements, due: step.number, to: frontEnd)
      }
      if stop.isRequested || runStop != nil { return nil }
      if consults { judging.arrived(frontEnd.takeArrivals(), of: queue.pending, subject) }
      // Whoever judges elsewhere is given samples while others are sampled.
      let patience = Duration.milliseconds(consults ? 20 : 500)
      if let group = try frontEnd.nextGroup(within: patience, below: step.ordinals.upperBound) {
        let children = try groups.finish(group) { trajectories, prompt in
          let queries = trajectories.map { subject.query($0, prompt: prompt) }
          let judged = try subject.rewards.judge(queries, asked: consults ? judging.asked(queries, subject) : [])
          return zip(trajectories, judged).map { trajectory, judged in
            var trajectory = trajectory
            trajectory.reward = judged.total
            return trajectory
          }
        }
        if !children.isEmpty { try submit(children, due: step.number, to: frontEnd) }
        if let work = submitted[group.ordinal], let found = try verification?.arrived(group.samples, of: work) {
          try convict(found, &groups, frontEnd)
        }
      }
      let now = MonotonicClock.seconds()
      let statistics = frontEnd.statistics()
      if now - lastNotice > 15 && statistics.workers.isEmpty {
        logger.warning(
          "no workers: \(statistics.queuedSamples) samples wait; start `softgrpo worker --connect \(frontEnd.controlEndpoint)`"
        )
        lastNotice = now
      }
      try tell {
        try $0.fleetChanged(
          FleetReport(
            completedSteps: run.step, finishedGroups: groups.finishedCount, groups: groups.count,
            statistics: statistics))
      }
    }
    return groups
  }

  /// Whether a step's groups are complete and of each key's samples one at least was looked at.
  private func isSettled(_ groups: inout StepGroups, _ frontEnd: LearnerFrontEnd) throws -> Bool {
    guard groups.isComplete else { return false }
    guard let verification else { return true }
    let samples = groups.completed.flatMap { group in
      group.samples.compactMap { sample in submitted[group.ordinal].map { (sample, $0) } }
    }
    let found = try verification.conclude(samples)
    try convict(found, &groups, frontEnd)
    return groups.isComplete
  }

  func publish(_ frontEnd: LearnerFrontEnd) throws {
    if let state = subject.state as? AdapterState {
      let base = self.base ?? state.base.baseSnapshot(team: team)
      self.base = base
      run.adapters = subject.record(of: state, base: base)
    }
    let snapshot = try subject.state.snapshot(
      model.weights, version: run.step, parent: identity, base: base, team: team)
    identity = snapshot.description.identity
    if let base { return try frontEnd.publish(snapshot, base: base) }
    let comparison = frontEnd.currentVersion.flatMap {
      WeightDelta.encode(from: $0, to: snapshot, limit: WeightDelta.byteLimit(for: snapshot), team: team)
    }
    weightsDensity = comparison?.density
    try frontEnd.publish(snapshot, delta: comparison?.delta)
  }
}
