import Evaluation
import Foundation
import Kernels
import Learner
import Loading
import Logging
import Machine
import Observability
import RunConfiguration
import Sessions
import Transformer
import Updates

/// `softgrpo train`: a learner, its worker processes and the evaluations before and after, on one machine.
public final class TrainingRun {
  private let configuration: RunConfiguration
  private let service: LearnerService
  private let executable: String
  private let stop: StopSignal
  private let logger: Logger
  private let console: Console

  private var workers: LocalWorkers?

  /// - Parameters:
  ///   - executable: the program that workers are started from.
  ///   - isRehearsal: it is measured and nothing is kept of it: no checkpoint is written, and rewards are made up.
  /// - Throws: an error naming the file or key; nothing has been written then.
  public init(
    _ configuration: RunConfiguration, start: RunStart, executable: String, stop: StopSignal, logger: Logger,
    console: Console, isRehearsal: Bool = false
  ) throws {
    var configuration = configuration
    // Any free port: several runs may share the machine.
    configuration.learner.endpoints.controlEndpoint = "tcp://127.0.0.1:*"
    configuration.learner.endpoints.broadcastEndpoint = "tcp://127.0.0.1:*"
    // Loopback, where no keys are needed; the workers started here are given none.
    configuration.learner.endpoints.serverKey = nil
    configuration.learner.endpoints.authorizedWorkers = nil
    guard configuration.worker.count > 0 else {
      throw RoleError("worker.count: `softgrpo train` needs at least one worker; `softgrpo learner` starts none")
    }
    // Here rather than in workers that die one after the other.
    if configuration.worker.dtype == .int8 {
      do { _ = try rolloutBackend(for: .int8) } catch { throw RoleError("worker.dtype: \(error)") }
    }
    // Here rather than after the warm-up: an evaluation may think by another policy than the run's.
    for policy in configuration.eval.policies {
      do { _ = try policy.rollout(over: configuration.rollout) } catch {
        throw RoleError("eval.policies: \(policy.name) cannot be evaluated: \(error)")
      }
    }
    self.configuration = configuration
    self.executable = executable
    self.stop = stop
    self.logger = logger
    self.console = console
    var options = LearnerService.Options(start: start)
    options.evaluates = !isRehearsal
    options.isRehearsal = isRehearsal
    options.servesDashboard = true
    service = try LearnerService(configuration, options, stop: stop, logger: logger, console: console)
  }

  /// Lets an observer follow the run.
  func observe(_ observer: any RunObserver) { service.observers.append(observer) }

  var workerProcesses: [Int32] { workers?.processes ?? [] }
  var parameterCount: Int { service.subject.state.layout.count }
  /// Numbers that an optimiser step changes.
  var trainedCount: Int { service.subject.state.gradientValues.count }
  /// The first prompt as the model reads it; nil for generated tasks of the tiny model.
  var promptPreview: String? { service.promptPreview }

  /// - Returns: the table of evaluations before and after, when the run has evaluation prompts and was not stopped.
  public func run() throws -> String? {
    let start = MonotonicClock.seconds()
    try service.prepareDirectory()
    logger.info("run directory: \(service.directory.path)")
    try service.warmUp()
    func evaluate(_ label: String) throws -> [Evaluator.Result]? {
      guard let results = try service.evaluate(label) else { return nil }
      service.note(LearnerService.figures(results))
      return results
    }
    let before = service.completedSteps == 0 ? try evaluate("before") : nil

    let threads =
      configuration.worker.threads > 0
      ? configuration.worker.threads
      : max(1, ProcessorFeatures.current.availableProcessors / configuration.worker.count)
    var isAnnounced = false
    defer { workers?.stop(within: 10, isAnnounced: isAnnounced) }
    let watch = WorkerWatch()
    service.observers.append(watch)
    try service.run { frontEnd in
      let started = LocalWorkers(
        executable: executable,
        arguments: [
          "worker", "--connect", frontEnd.controlEndpoint, "--threads", "\(threads)", "--batch-size",
          "\(configuration.worker.batchSize)", "--dtype", configuration.rolloutDataType.rawValue,
          // They share the learner's processors.
          "--no-gradients", "--log-level",
          configuration.run.logLevel == .info ? "warning" : configuration.run.logLevel.rawValue,
        ], logger: logger)
      workers = started
      watch.workers = started
      logger.info(
        "starting \(configuration.worker.count) workers of \(threads) threads at \(frontEnd.controlEndpoint)")
      try started.start(count: configuration.worker.count)
    }
    isAnnounced = true
    if stop.isRequested { return nil }
    let after = try evaluate("after") ?? []
    service.amendLastRecord()
    if stop.isRequested { return nil }
    logger.info(
      "finished in \(formatDuration(MonotonicClock.seconds() - start)); checkpoints in \(service.directory.path)")
    return try service.evaluation?.table(before: before, after: after)
  }
}

/// Ends a run whose workers have all been given up: there is no point in waiting any longer.
private final class WorkerWatch: RunObserver {
  var workers: LocalWorkers?

  func fleetChanged(_ fleet: FleetReport) throws { try workers?.check() }
}

/// A supervised phase by itself: `softgrpo sft`.
public func superviseModel(
  _ configuration: RunConfiguration, checkpoint: String, stop: StopSignal, logger: Logger, console: Console
) throws {
  let team = ThreadTeam(threadCount: configuration.learnerThreads)
  let run = SupervisedRun(
    configuration, subject: try TrainingSubject(configuration),
    backend: try backend(for: configuration.model.dtype.rawValue, logger: logger), team: team, stop: stop,
    logger: logger, console: console)
  _ = try run.run(checkpoint: checkpoint)
}
