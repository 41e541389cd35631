import Coordination
import Foundation
import Kernels
import Logging
import ModelFiles
import Observability
import PolicyOptimization
import RunConfiguration
import SoftThinking
import Tasks
import Tokenization
import Training
import Transformer
import Transport
import WeightSync
import Wire

/// The central learner: leases prompts to workers, collects and rewards their trajectories, updates the weights and
/// broadcasts them.
///
///     let service = try LearnerService(configuration, options, stop: stop, logger: logger, console: console)
///     try service.run { frontEnd in … start workers that connect to frontEnd.controlEndpoint … }
public final class LearnerService {
  public struct Options: Sendable {
    /// Continue from the newest checkpoint of the run directory.
    public var resume: Bool
    /// Permit sockets that other machines can reach without keys.
    public var allowInsecure: Bool
    /// Folder of keys that `softgrpo keygen --cluster` made; goes before the configuration's.
    public var keys: String?
    /// Emulates a slower machine, for measurements; nil: as fast as this one.
    public var pace: Pace?

    public init(resume: Bool = false, allowInsecure: Bool = false, keys: String? = nil) {
      self.resume = resume
      self.allowInsecure = allowInsecure
      self.keys = keys
    }
  }

  public let configuration: RunConfiguration
  public let directory: RunDirectory
  let subject: TrainingSubject
  let stop: StopSignal
  let logger: Logger
  let console: Console
  let team: ThreadTeam
  private let options: Options
  private let security: SocketSecurity
  private var run: RunState
  private let prompts: PromptSource
  private var model: PreparedModel
  private var identity = Digest.zero
  /// Under LoRA: the frozen weights as workers pull them.
  private var base: WeightSnapshot?
  /// Share of the weights that the last update changed; nil under LoRA.
  private var weightsDensity: Double?
  /// Weight bytes sent until the last step's record.
  private var recordedWireBytes = 0
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
  /// Called while the learner waits for samples: throws when there is no point in waiting any longer.
  var watch: (() throws -> Void)?
  /// Called after each step.
  var observer: ((StepReport) -> Void)?
  /// The cluster at the last step's record.
  private var recordedStatistics = ClusterStatistics()

  /// Loads the model, or makes the tiny one, and warms it up when the configuration says so.
  ///
  /// - Throws: an error naming the file or key, before anything is written.
  public init(
    _ configuration: RunConfiguration, _ options: Options, stop: StopSignal, logger: Logger, console: Console
  ) throws {
    self.configuration = configuration
    self.options = options
    self.stop = stop
    self.logger = logger
    self.console = console
    directory = RunDirectory(path: configuration.runDirectory)
    team = ThreadTeam(threadCount: configuration.learnerThreads)
    var prompts = try PromptSource(configuration)
    let backend = try backend(for: configuration.model.dtype.rawValue, logger: logger)
    if !options.resume && directory.exists {
      throw ClusterError(
        "\(directory.path): a run was started here before: continue it with --resume, or give the new one another run.name "
          + "or run.directory")
    }
    if options.resume && !directory.exists {
      throw ClusterError("\(directory.path): holds no run to resume; leave --resume away to start one")
    }
    // What would only fail hours into a run, or after its folder was made, is checked here.
    _ = (try configuration.objectiveOptions(), try configuration.updateOptions())
    security = try configuration.learnerSecurity(
      keys: options.keys, allowInsecure: options.allowInsecure, logger: logger)
    subject = try TrainingSubject(configuration)
    for prompt in prompts.filePrompts { _ = try subject.promptTokens(prompt) }
    if subject.warmsUpWhole && !configuration.sft.enabled { subject.adapt(subject.state.roundedWeights(team: team)) }
    let (subject, team, directory) = (subject, team, directory)
    let saved =
      options.resume
      ? try directory.readLatest(
        adapters: configuration.adapterOptions == nil
          ? nil
          : {
            if subject.warmsUpWhole, configuration.sft.enabled {
              subject.adapt(try ModelWeights(source: ModelSource.open(path: directory.supervisedPath)))
            }
            return try subject.adapterRecord(team: team)
          }) : nil
    if let saved {
      guard saved.state.layout == subject.state.layout else {
        throw ClusterError("\(directory.path): its checkpoint is of another model than model.path")
      }
      subject.state = saved.state
      run = saved.run
      try prompts.restore(saved.run.task)
      logger.info("resuming run \(run.runID) after step \(run.step)")
    } else {
      if options.resume {
        logger.warning("\(directory.path): holds no checkpoint yet: the run begins again")
      }
      run = RunState(
        runID: Self.newRunID(configuration), step: 0, optimizerStep: 0, nextGroupOrdinal: 0, task: prompts.state)
    }
    self.prompts = prompts
    model = PreparedModel(
      subject.state.roundedWeights(team: team), backend: backend, trainable: true,
      positions: subject.positions, team: team)
  }

  /// Steps done so far.
  public var completedSteps: Int { run.step }

  /// The policy as it stands.
  public var current: PreparedModel { model }

  private static func newRunID(_ configuration: RunConfiguration) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withFullDate, .withTime]
    return "\(configuration.run.name)-\(formatter.string(from: Date()))-\(UInt32.random(in: 0...UInt32.max))"
  }

  /// Writes the resolved configuration and the run's folders.
  public func prepareDirectory() throws {
    try directory.create()
    let text = configuration.resolvedYAML()
    do { try text.write(toFile: directory.configurationPath, atomically: true, encoding: .utf8) } catch {
      throw ClusterError("\(directory.configurationPath): cannot be written: \(error.localizedDescription)")
    }
  }

  /// The supervised warm-up, when the configuration asks for one and the run is at its beginning.
  public func warmUp() throws {
    guard configuration.sft.enabled, run.step == 0, subject.state.step == 0 else { return }
    let warmUp = SupervisedRun(
      configuration, subject: subject, backend: model.backend, team: team, stop: stop, logger: logger, console: console)
    model = try warmUp.run(checkpoint: directory.supervisedPath)
    // Reinforcement starts with fresh moments and its own schedule.
    subject.state.resetOptimizer()
    subject.adapt(model.weights)
  }

  /// Trains until `total_steps`, or until a stop is requested; then a checkpoint is written and workers are told.
  ///
  /// - Parameter whenBound: called once the sockets are bound, before the first step.
  /// - Throws: what broke the run, with the newest checkpoint on disk.
  public func run(whenBound: (LearnerFrontEnd) throws -> Void) throws {
    var frontOptions = LearnerFrontEndOptions(
      runID: run.runID, model: ModelDescription(model.configuration), dtype: configuration.model.dtype.rawValue)
    frontOptions.controlEndpoint = configuration.learner.controlEndpoint
    frontOptions.announcementEndpoint = configuration.learner.broadcastEndpoint
    frontOptions.allowInsecure = options.allowInsecure
    frontOptions.security = security
    frontOptions.maxStaleness = configuration.learner.maxStaleness
    frontOptions.heartbeatInterval = .seconds(configuration.worker.heartbeatSeconds)
    frontOptions.livenessTimeout = .seconds(configuration.worker.heartbeatSeconds * 4)
    frontOptions.learnerThreads = team.threadCount
    frontOptions.leaseDuration = .seconds(configuration.worker.leaseTimeoutSeconds)
    frontOptions.maximumLosses = configuration.worker.maxLossesPerSample
    let frontEnd = try LearnerFrontEnd(frontOptions, logger: logger)
    // A run that breaks off is not over: its workers wait for it to be resumed.
    var isOver = false
    defer {
      if isOver {
        frontEnd.shutdown(
          reason: stop.isRequested ? "the learner was stopped" : "the run is complete", within: .seconds(10))
      } else {
        if !frontEnd.statistics().workers.isEmpty {
          logger.error("the run breaks off at step \(run.step); workers wait for it to be continued with --resume")
        }
        frontEnd.abort()
      }
    }
    var metrics =
      options.resume
      ? try MetricsLog(resuming: directory.metricsPath, after: run.step)
      : try MetricsLog(creating: directory.metricsPath)
    try publish(frontEnd)
    try whenBound(frontEnd)

    let reference: PreparedModel? =
      configuration.learner.klCoefficient == 0
      ? nil
      : PreparedModel(
        try subject.referenceWeights(supervised: directory.supervisedPath, team: team), backend: model.backend,
        trainable: false, positions: subject.positions, team: team, sharing: model,
        keepsHead: subject.state.keepsHead)
    let audit = LogProbAudit.start(
      model, selfTest: configuration.learner.selfTest, policy: configuration.rollout.thinkingPolicy,
      positions: subject.positions, fraction: configuration.learner.auditFraction, team: team, logger: logger)
    var help = configuration.gradientHelp(frontEnd.gradients, audit: audit, logger: logger)
    help?.weights = IntermediateWeights(frontEnd: frontEnd, team: team, logger: logger)
    if help != nil, let reference {
      let snapshot = reference.weights.referenceSnapshot(team: team)
      help?.reference = snapshot.description.root
      try frontEnd.publish(reference: snapshot)
    }
    let update = BatchUpdate(
      objective: try configuration.objectiveOptions(), options: try configuration.updateOptions(),
      tokenBudget: configuration.learner.microBatchTokens, reference: reference, audit: audit,
      importanceCap: configuration.learner.importanceCap.map(Float.init),
      activationMemoryBudget: configuration.activationMemoryBudget,
      sumsLeaves: configuration.learner.gradientLeases != .off,
      gradientType: GradientType(rawValue: configuration.learner.gradientDtype.rawValue)!,
      help: help, team: team)
    if let pace = options.pace { update.gradient.pacing = Pacing(pace) }
    var progress = ProgressReporter(label: "train", total: configuration.run.totalSteps, unit: "step", console: console)
    var queue = StepQueue(
      prompts, step: run.step, nextOrdinal: run.nextGroupOrdinal, promptsPerStep: configuration.rollout.promptsPerStep,
      lead: configuration.learner.maxStaleness, totalSteps: configuration.run.totalSteps)
    var lastCheckpoint = run.step
    var failedCheckpoint: Double?
    while run.step < configuration.run.totalSteps && !stop.isRequested {
      guard let record = try step(frontEnd, update, &queue, &progress) else { break }
      try metrics.append(record)
      let interval = configuration.learner.checkpointInterval
      if interval > 0 && run.step % interval == 0
        || failedCheckpoint.map({ monotonicSeconds() - $0 >= Self.checkpointPause }) ?? false
      {
        do {
          try checkpoint()
          (lastCheckpoint, failedCheckpoint) = (run.step, nil)
        } catch {
          // A disk that is full for a while should not cost what was trained since the last one.
          failedCheckpoint = monotonicSeconds()
          let newest =
            directory.checkpointSteps().last.map { "the newest checkpoint is that of step \($0)" } ?? "there is none"
          logger.error(
            "no checkpoint of step \(run.step): \(error). The run goes on, and tries again within \(Int(Self.checkpointPause)) s; until then \(newest)"
          )
        }
      }
    }
    progress.finish(completed: run.step, at: monotonicSeconds())
    if lastCheckpoint != run.step || directory.checkpointSteps().isEmpty { try checkpoint() }
    isOver = true
  }

  /// Seconds between attempts at a checkpoint that failed.
  private static let checkpointPause = 60.0

  /// One batch of rollouts and its updates. Workers meanwhile sample for the steps that are submitted ahead.
  ///
  /// - Returns: nil when a stop was requested while waiting; prompts that were not trained on are drawn again on resumption.
  private func step(
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
    for group in groups {
      let prompt = batch[group.ordinal - first]
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
      sampling: Self.samplingSeconds(groups), isPartial: configuration.rollout.partialRollouts,
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

  private func publish(_ frontEnd: LearnerFrontEnd) throws {
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

  private func checkpoint() throws {
    try directory.write(
      subject.state, weights: model.weights, run: run, tokenizer: subject.checkpointTokenizer,
      keep: configuration.learner.keepCheckpoints,
      baseModel: subject.adapterBase(supervised: directory.supervisedPath))
    logger.info("checkpoint: \(directory.checkpointPath(step: run.step))")
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
