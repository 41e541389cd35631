import Coordination
import Evaluation
import Foundation
import FrontEnd
import Kernels
import Loading
import Logging
import Machine
import ModelFiles
import Observability
import RunConfiguration
import Sessions
import Tasks
import Thinking
import Tokenization
import Training
import Transformer
import Transport
import Updates
import WeightSync
import Wire

/// The central learner: leases prompts to workers, collects and rewards their trajectories, updates the weights and
/// broadcasts them.
///
///     let service = try LearnerService(configuration, options, stop: stop, logger: logger, console: console)
///     try service.run { frontEnd in … start workers that connect to frontEnd.controlEndpoint … }
public final class LearnerService {
  public struct Options: Sendable {
    public var start: RunStart
    /// Permit sockets that other machines can reach without keys.
    public var allowInsecure: Bool
    /// Folder of keys that `softgrpo keygen --cluster` made; goes before the configuration's.
    public var keys: String?
    /// Emulates a slower machine, for measurements; nil: as fast as this one.
    public var pace: Pace?
    /// Whether the model is evaluated before and after the run too, and not only where `eval.interval` asks for it.
    public var evaluates = false
    /// Whether the run can be watched in a browser, where `dashboard.enabled` is true.
    public var servesDashboard = false
    /// The run is measured and nothing is kept of it: no checkpoint is written at its end, and rewards are made up, so that
    /// there is a gradient.
    package var isRehearsal = false

    public init(start: RunStart = .new, allowInsecure: Bool = false, keys: String? = nil) {
      self.start = start
      self.allowInsecure = allowInsecure
      self.keys = keys
    }
  }

  public let configuration: RunConfiguration
  public let directory: RunDirectory
  package let subject: TrainingSubject
  package let stop: StopSignal
  package let logger: Logger
  package let console: Console
  package let team: ThreadTeam
  let options: Options
  let security: SocketSecurity
  var run: RunState
  let prompts: PromptSource
  /// As the run began or was resumed with.
  let scheduler: any PromptScheduler
  var model: PreparedModel
  var versions: VersionPublisher
  /// Measured between steps; the next step's record has it, or at the end of the run the last one's.
  var measuredBetweenSteps: [String: Double] = [:]
  /// Who follows the run, beside its files and the progress line.
  public let observers = RunObservers()
  /// The first prompt as the model reads it; nil where prompts are no text for a template.
  package let promptPreview: String?
  /// Nil: the run has no evaluation prompts, or is not evaluated.
  let periodicEvaluation: PeriodicEvaluation?
  /// Why the run ended before its last step; nil: it did not, or a signal came.
  public private(set) var endsEarly: RunStop?
  /// For as long as the service lives: the right to write the run's folder, and who serves it to browsers.
  private var held: (lock: RunLock, dashboard: Dashboard?)?

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
    let backend = try Loading.backend(for: configuration.model.dtype.rawValue, logger: logger)
    try options.start.check(directory)
    // What would only fail hours into a run, or after its folder was made, is checked here.
    _ = (try configuration.method(), try configuration.updateOptions())
    if options.servesDashboard, configuration.dashboard.enabled {
      _ = try PageAccess(host: configuration.dashboard.host, token: try configuration.dashboard.token())
    }
    security = try configuration.learner.endpoints.security(
      keys: options.keys, allowInsecure: options.allowInsecure, logger: logger)
    for key in configuration.learner.method.unusedParameters {
      logger.notice(
        "\(key): has no use with learner.objective \(configuration.learner.method.objective) and learner.advantage \(configuration.learner.method.advantage)"
      )
    }
    subject = try TrainingSubject(configuration)
    try prompts.check(subject, configuration.task.overlongPrompts, logger: logger)
    if let path = configuration.task.prompts, let notice = subject.referenceNotice(prompts.filePrompts, path: path) {
      logger.warning("\(notice)")
    }
    let generated = try PromptSource.generatedTask(configuration.task)?.example(
      .training, seed: UInt64(configuration.run.seed), index: 0)
    let shown = prompts.filePrompts.first ?? generated?.prompt
    try subject.text.show(shown, logger)
    if let shown, let preview = subject.text.preview {
      promptPreview = try preview(shown).display
    } else {
      promptPreview = nil
    }
    if subject.warmsUpWhole && !configuration.sft.enabled { subject.adapt(subject.state.roundedWeights(team: team)) }
    let evaluation =
      options.evaluates || configuration.eval.interval > 0
      ? try RunEvaluation(
        configuration, subject: subject, trained: prompts.filePrompts, team: team, stop: stop, console: console,
        logger: logger) : nil
    if configuration.eval.interval > 0, evaluation == nil {
      throw RoleError(
        "eval.interval: there is nothing to evaluate; name files with eval.datasets or eval.path, or set task.held_out")
    }
    versions = VersionPublisher(team: team)
    let (subject, team, directory) = (subject, team, directory)
    periodicEvaluation = evaluation.map {
      PeriodicEvaluation($0, configuration.eval, subject: subject, directory: directory, stop: stop, logger: logger)
    }
    var scheduler = subject.scheduler
    let origin = options.start.origin(directory)
    let saved = try origin.flatMap { origin in
      try origin.readCheckpoint(
        step: options.start.step,
        adapters: configuration.adapterOptions == nil
          ? nil
          : {
            if subject.warmsUpWhole, configuration.sft.enabled {
              subject.adapt(try ModelWeights(source: ModelSource.open(path: origin.supervisedPath)))
            }
            return try subject.adapterRecord(team: team)
          })
    }
    if let saved {
      guard saved.state.layout == subject.state.layout else {
        throw RoleError("\(origin!.path): its checkpoint is of another model than model.path")
      }
      subject.state = saved.state
      run = saved.run
      try prompts.restore(saved.run.task)
      if let record = saved.run.scheduler {
        do { try scheduler.restore(record) } catch { throw RoleError("rollout.\(error)") }
      }
      if case .fork(let origin, _) = options.start {
        let forked = run.runID
        run.runID = Self.newRunID(configuration)
        logger.info("run \(run.runID) goes on after step \(run.step) of \(origin.path) (\(forked))")
      } else {
        logger.info("resuming run \(run.runID) after step \(run.step)")
      }
    } else {
      if options.start.continues {
        logger.warning("\(directory.path): holds no checkpoint yet: the run begins again")
      }
      run = RunState(
        runID: Self.newRunID(configuration), step: 0, optimizerStep: 0, nextGroupOrdinal: 0, task: prompts.state)
    }
    self.prompts = prompts
    self.scheduler = scheduler
    reserveTrainingMemory(for: backend.computeType, threads: team.threadCount)
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

  /// Writes the resolved configuration and the run's folders, when nothing stands against the run any more: a start that is
  /// refused changes nothing of a folder that is there.
  public func prepareDirectory() throws {
    try directory.create()
    held = (try RunLock(folder: directory.path), nil)
    if let origin = options.start.origin(directory) {
      try MetricsLog.check(resuming: origin.metricsPath, after: run.step)
    }
    try checkEndpoints()
    // Before the warm-up, which can be watched too; a port that was asked for and is taken is found now.
    held?.dashboard = try startDashboard()
    let changes = options.start.origin(directory)?.changes(to: configuration) ?? []
    if !changes.isEmpty {
      let before = if case .fork(let origin, _) = options.start { origin.path } else { "the start before" }
      logger.notice("changed since \(before): \(changes.joined(separator: "; "))")
    }
    try prepareStart()
    let text = configuration.resolvedYAML()
    for path in [directory.startConfigurationPath(directory.startCount + 1), directory.configurationPath] {
      do { try text.write(toFile: path, atomically: true, encoding: .utf8) } catch {
        throw RoleError("\(path): cannot be written: \(error.localizedDescription)")
      }
    }
  }

  /// Makes the run's folder what it was after the step from which the run goes on, where that is not its newest checkpoint.
  private func prepareStart() throws {
    switch options.start {
    case .new, .resume(step: nil): return
    case .resume(step: .some):
      let removed = try directory.discardCheckpoints(after: run.step)
      if !removed.isEmpty {
        logger.notice("back to step \(run.step): later checkpoints are removed: \(RunDirectory.list(removed))")
      }
    case .fork(let origin, _):
      try directory.copyHistory(of: origin, upTo: run.step)
      // Last: with it the folder is complete.
      try directory.write(
        subject.state, weights: model.weights, run: run, tokenizer: subject.checkpointTokenizer,
        keep: configuration.learner.keepCheckpoints,
        baseModel: subject.adapterBase(supervised: directory.supervisedPath))
    }
  }

  /// The supervised warm-up, when the configuration asks for one and the run is at its beginning.
  public func warmUp() throws {
    guard configuration.sft.enabled, run.step == 0, subject.state.step == 0 else { return }
    let warmUp = SupervisedRun(
      configuration, subject: subject, backend: model.backend, team: team, stop: stop, logger: logger, console: console)
    let (trained, metrics) = try warmUp.run(checkpoint: directory.supervisedPath)
    model = trained
    note(metrics)
    // Reinforcement starts with fresh moments and its own schedule.
    subject.state.resetOptimizer()
    subject.adapt(model.weights)
  }

  /// Nil: the run has no evaluation prompts, or is not evaluated.
  package var evaluation: RunEvaluation? { periodicEvaluation?.evaluation }

  /// Evaluates the model as it stands.
  ///
  /// - Returns: nil without evaluation prompts, and when a stop was requested meanwhile: the run itself loses nothing.
  package func evaluate(_ label: String) throws -> [Evaluator.Result]? {
    try periodicEvaluation?.evaluate(model, label, after: run.step, isDuring: false, telling: observers)
  }

  package static func figures(_ results: [Evaluator.Result]) -> [String: Double] { PeriodicEvaluation.figures(results) }

  /// Takes what was measured between two steps, such as an evaluation, for the next step's record.
  package func note(_ metrics: [String: Double]) { measuredBetweenSteps.merge(metrics) { $1 } }

  /// Adds what was measured after the last step to its record. The run is complete by then: a disk that refuses costs these
  /// figures alone, and the log has them.
  package func amendLastRecord() {
    do {
      var log = try MetricsLog(resuming: directory.metricsPath, after: run.step)
      try log.amend(measuredBetweenSteps)
    } catch {
      let lost = measuredBetweenSteps.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
      logger.error("\(error); it lacks what was measured at the end: \(lost.joined(separator: ", "))")
    }
    measuredBetweenSteps = [:]
  }

  /// Trains until `total_steps`, or until a stop is requested; then a checkpoint is written and workers are told.
  ///
  /// - Parameter whenBound: called once the sockets are bound, before the first step.
  /// - Throws: what broke the run, with the newest checkpoint on disk.
  public func run(whenBound: (LearnerFrontEnd) throws -> Void) throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions, logger: logger)
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
    try JSONLinesLog.cut(directory.evaluationsPath, after: run.step)
    periodicEvaluation?.begin()
    observers.begin(try runObservers())
    defer { observers.end() }
    try versions.publish(model, of: subject, &run, to: frontEnd)
    try whenBound(frontEnd)

    let update = try makeUpdate(frontEnd)
    var collector = makeCollector(frontEnd, update.audit)
    var queue = StepQueue(
      prompts, scheduler, step: run.step, nextOrdinal: run.nextGroupOrdinal, pending: run.pending ?? [],
      promptsPerStep: configuration.rollout.promptsPerStep, lead: configuration.learner.maxStaleness,
      totalSteps: configuration.run.totalSteps)
    var checkpoints = CheckpointSchedule(interval: configuration.learner.checkpointInterval, lastStep: run.step)
    while run.step < configuration.run.totalSteps && !stop.isRequested && runStop == nil {
      guard try step(&collector, update, &queue) else { break }
      guard checkpoints.isDue(at: run.step, now: MonotonicClock.seconds()) else { continue }
      do {
        try checkpoint()
        checkpoints.succeeded(at: run.step)
      } catch {
        // A disk that is full for a while should not cost what was trained since the last one.
        checkpoints.failed(now: MonotonicClock.seconds())
        let newest =
          directory.checkpointSteps().last.map { "the newest checkpoint is that of step \($0)" } ?? "there is none"
        logger.error(
          "no checkpoint of step \(run.step): \(error). The run goes on, and tries again within \(Int(CheckpointSchedule.pause)) s; until then \(newest)"
        )
      }
    }
    endsEarly = runStop
    if let endsEarly { logger.notice("the run ends after step \(run.step): \(endsEarly.reason)") }
    observers.tell { $0.ended(after: run.step) }
    if !options.isRehearsal, checkpoints.lastStep != run.step || directory.checkpointSteps().isEmpty {
      try checkpoint()
    }
    // The metrics file is its observer's until here.
    observers.end()
    amendLastRecord()
    isOver = true
    if let endsEarly, endsEarly.isFailure {
      throw RoleError("the run was ended after step \(run.step): \(endsEarly.reason)")
    }
  }

  private func checkpoint() throws {
    let start = MonotonicClock.seconds()
    try directory.write(
      subject.state, weights: model.weights, run: run, tokenizer: subject.checkpointTokenizer,
      keep: configuration.learner.keepCheckpoints,
      baseModel: subject.adapterBase(supervised: directory.supervisedPath))
    note([MetricName.timeCheckpoint: MonotonicClock.seconds() - start])
    logger.info("checkpoint: \(directory.checkpointPath(step: run.step))")
  }
}
