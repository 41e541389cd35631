import Foundation
import Observability
import SoftThinking
import Tasks
import Training
import WeightSync

// A step of a run: its samples, its updates, its new version.
extension LearnerService {
  /// What a step was, for measurements.
  struct StepReport {
    var record: MetricsRecord
    var trajectories: [Trajectory]
    var leafRows: [[Int]]
    /// Of the version that the step made.
    var identity: Digest
    /// When the step began, its batch was complete, the update was done and published, on the monotonic clock.
    var times: (began: Double, collected: Double, updated: Double, published: Double)
  }

  /// One batch of rollouts and its updates. Workers meanwhile sample for the steps that are submitted ahead.
  ///
  /// - Returns: nil when a stop was requested while waiting; prompts that were not trained on are drawn again on resumption.
  func step(
    _ frontEnd: LearnerFrontEnd, _ update: BatchUpdate, _ queue: inout StepQueue,
    _ progress: inout ProgressReporter
  ) throws -> MetricsRecord? {
    let start = monotonicSeconds()
    for ahead in try queue.draw(at: run.step) { try submit(ahead, to: frontEnd) }
    guard let current = queue.current, let groups = try collect(frontEnd, current.ordinals, progress: &progress) else {
      return nil
    }
    let collected = monotonicSeconds()

    let (batch, first) = (current.prompts, current.firstOrdinal)
    var samples: [CollectedTrajectory] = []
    var notJudged = 0
    for group in groups {
      let prompt = batch[group.ordinal - first]
      if subject.referenceFault(prompt.answer) != nil { notJudged += group.samples.count }
      for var sample in group.samples {
        sample.trajectory.reward = subject.reward(sample.trajectory, answer: prompt.answer)
        samples.append(sample)
      }
    }
    guard !samples.isEmpty else {
      throw ClusterError(
        "step \(run.step + 1): every sample was set aside after \(configuration.worker.maxLossesPerSample) workers were lost with "
          + "it; see the workers' logs")
    }
    let trajectories = samples.map(\.trajectory)
    for group in groups {
      logger.debug(
        "step \(run.step + 1) trains group \(group.ordinal): samples \(group.samples.map(\.trajectory.sampleIndex))")
    }
    let version = run.step
    let outcome = try update.run(
      samples, state: subject.state, model: &model, version: version, miniBatch: configuration.miniBatchSize)
    let updated = monotonicSeconds()
    run.step += 1
    run.optimizerStep = subject.state.step
    run.nextGroupOrdinal = current.ordinals.upperBound
    run.task = current.after
    queue.finish()
    // Before the broadcast: what is sent from then on belongs to the next step.
    let statistics = frontEnd.statistics()
    try publish(frontEnd)
    let published = monotonicSeconds()
    if configuration.run.sampleInterval > 0 && (run.step - 1) % configuration.run.sampleInterval == 0 {
      try writeSamples(trajectories, batch: batch, first: first)
    }
    let record = StepMetrics(
      step: run.step, trajectories: trajectories, outcome: outcome, version: version, subject: subject,
      cluster: statistics, wireBytes: recordedWireBytes, weightsDensity: weightsDensity, before: recordedStatistics,
      sampling: Self.samplingSeconds(groups), notJudged: notJudged, isPartial: configuration.rollout.partialRollouts,
      times: (start, collected, updated, published)
    ).record
    recordedWireBytes = statistics.weightBytesSent
    recordedStatistics = statistics
    observer?(
      StepReport(
        record: record, trajectories: trajectories, leafRows: outcome.leafRows, identity: identity,
        times: (start, collected, updated, published)))
    progress.update(
      completed: run.step, at: published,
      detail: StepMetrics.summary(record))
    return record
  }

  private func submit(_ step: StepQueue.Step, to frontEnd: LearnerFrontEnd) throws {
    try frontEnd.submit(
      try step.prompts.enumerated().map { index, prompt in
        var group = try subject.group(prompt, ordinal: step.firstOrdinal + index)
        group.dueVersion = step.number
        group.continuesAcrossVersions = configuration.rollout.partialRollouts
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

  /// Waits for a step's groups; those of later steps stay with the front end. There is no limit to the wait: workers may come
  /// later, and the log says who is missing.
  private func collect(
    _ frontEnd: LearnerFrontEnd, _ ordinals: Range<Int>, progress: inout ProgressReporter
  ) throws -> [CompletedGroup]? {
    var groups: [CompletedGroup] = []
    var lastNotice = monotonicSeconds()
    while groups.count < ordinals.count {
      if stop.isRequested { return nil }
      try watch?()
      if let group = try frontEnd.nextGroup(within: .milliseconds(500), below: ordinals.upperBound) {
        groups.append(group)
      }
      let now = monotonicSeconds()
      let statistics = frontEnd.statistics()
      if now - lastNotice > 15 && statistics.workers.isEmpty {
        logger.warning(
          "no workers: \(statistics.queuedSamples) samples wait; start `softgrpo worker --connect \(frontEnd.controlEndpoint)`"
        )
        lastNotice = now
      }
      progress.update(
        completed: run.step, at: now,
        detail: "sampling \(groups.count)/\(ordinals.count) groups, \(statistics.workers.count) workers")
    }
    return groups.sorted { $0.ordinal < $1.ordinal }
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

  /// The first group's best and worst trajectory as text.
  private func writeSamples(_ trajectories: [Trajectory], batch: [Prompt], first: Int) throws {
    guard let group = trajectories.first?.groupID else { return }
    let members = trajectories.filter { $0.groupID == group }.sorted { ($0.reward ?? 0) > ($1.reward ?? 0) }
    let chosen = members.count > 1 ? [members[0], members[members.count - 1]] : members
    _ = try TextSample.write(
      chosen.map { subject.textSample($0, prompt: batch[group - first]) }, step: run.step,
      directory: directory.samplesPath)
  }
}
