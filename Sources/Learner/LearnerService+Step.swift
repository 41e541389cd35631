import FrontEnd
import Machine
import Observability
import Sessions
import Tasks
import Thinking
import Trajectories
import Updates

// A step of a run: its samples, its updates, its new version.
extension LearnerService {
  /// One batch of rollouts and its updates. Workers meanwhile sample for the steps that are submitted ahead.
  ///
  /// - Returns: false when a stop was requested while waiting; prompts that were not trained on are sampled again on resumption.
  func step(_ collector: inout StepCollector, _ update: BatchUpdate, _ queue: inout StepQueue) throws -> Bool {
    let start = MonotonicClock.seconds()
    for ahead in try queue.draw(at: run.step) {
      try collector.submit(StepGroups.requests(ahead, scheduler: queue.scheduler), due: ahead.number)
    }
    guard let current = queue.current else { return false }
    let groups = try collector.collect(
      current, &queue, under: model, version: run.step, telling: observers,
      isStopping: { stop.isRequested || runStop != nil })
    guard let groups else { return false }
    let collected = MonotonicClock.seconds()

    collector.forget(below: current.ordinals.upperBound)
    let training = groups.training
    let prompts = Dictionary(
      uniqueKeysWithValues: training.map { ($0.samples[0].trajectory.groupID, $0.prompt) })
    let collectedSamples = training.flatMap(\.samples)
    guard !collectedSamples.isEmpty else {
      throw RoleError(
        "step \(run.step + 1): nothing is left to train on: the scheduler \(configuration.rollout.scheduler) dropped all of \(groups.droppedCount) groups, or "
          + "every sample was set aside after \(configuration.worker.maxLossesPerSample) workers were lost with it; see the workers' "
          + "logs")
    }
    let queries = collectedSamples.map { subject.query($0.trajectory, prompt: prompts[$0.trajectory.groupID]!) }
    guard let judged = try collector.judging.judge(queries, forgettingBelow: current.ordinals.upperBound) else {
      return false
    }
    let samples = try collector.judging.rewarded(collectedSamples, judged, queries, step: run.step + 1)
    let rewardsCame = MonotonicClock.seconds()
    let trajectories = samples.map(\.trajectory)
    for group in training {
      logger.debug(
        "step \(run.step + 1) trains group \(group.samples[0].trajectory.groupID): samples \(group.samples.map(\.trajectory.sampleIndex))"
      )
    }
    try observers.tell {
      try $0.sampled(SampledBatch(step: run.step + 1, trajectories: trajectories, prompts: prompts))
    }
    let version = run.step
    // Of a step that nobody judged nothing is learned: the weights stay, under the next version's name.
    let outcome =
      samples.isEmpty
      ? UpdateOutcome()
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
    let statistics = collector.frontEnd.statistics()
    try versions.publish(model, of: subject, &run, to: collector.frontEnd)
    let published = MonotonicClock.seconds()
    var record = StepMetrics(
      step: run.step, trajectories: trajectories, rewardNames: subject.rewards.names, judged: judged,
      withoutAnswer: subject.rewards.shareWithoutAnswer(queries, judged), outcome: outcome,
      version: version, subject: subject, cluster: statistics, wireBytes: collector.recorded.counters.weightBytesSent,
      weightsDensity: versions.weightsDensity, before: collector.recorded,
      sampling: Self.samplingSeconds(groups.completed),
      isPartial: configuration.rollout.partialRollouts, judging: rewardsCame - collected,
      times: (start, collected, updated, published)
    ).record
    record.metrics[MetricName.droppedGroups] = Double(groups.droppedCount)
    record.metrics[MetricName.epoch] = run.task.epoch
    let verified = collector.verified
    record.metrics[MetricName.verified] = Double(verified.replayed)
    record.metrics[MetricName.verifiedForeign] = Double(verified.foreign)
    record.metrics[MetricName.notVerifiable] = Double(verified.unknownVersions)
    record.metrics[MetricName.caught] = Double(verified.caught)
    record.metrics[MetricName.timeVerification] = verified.seconds
    record.metrics[MetricName.verifiedLeaves] = Double(update.gradient.verified)
    update.gradient.verified = 0
    record.metrics.merge(measuredBetweenSteps) { $1 }
    measuredBetweenSteps = [:]
    let evaluated = try periodicEvaluation?.figuresIfDue(model, after: run.step, telling: observers)
    record.metrics.merge(evaluated ?? [:]) { $1 }
    collector.recorded = statistics
    let report = StepReport(
      step: run.step, record: record, trajectories: trajectories, queries: Self.judgedQueries(queries, judged),
      advantages: outcome.credits.map(\.advantages), leafRows: outcome.leafRows, identity: versions.identity,
      times: (start, collected, updated, published))
    try observers.tell { try $0.stepped(report) }
    return true
  }

  /// Those that were judged, and so were trained on.
  private static func judgedQueries(_ queries: [RewardQuery], _ judged: [JudgedCompletion]) -> [RewardQuery] {
    zip(queries, judged).compactMap { $1.total == nil ? nil : $0 }
  }

  /// Why the run is to end before its last step; nil: it is not.
  var runStop: RunStop? { observers.stop ?? periodicEvaluation?.patienceStop }

  /// From the first grant of a step's samples to its last result; nil when that is not known.
  private static func samplingSeconds(_ groups: [CompletedGroup]) -> Double? {
    guard let first = groups.compactMap(\.firstGranted).min(), let last = groups.compactMap(\.completed).max() else {
      return nil
    }
    return (last - first) / .seconds(1)
  }
}
