import Foundation
import Learner
import Logging
import Machine
import Observability
import RunConfiguration
import Sessions

/// `--dry-run`: two short steps of a run with its own model, prompts and workers, in a folder that is removed, and what follows
/// for the whole run: memory of each role, seconds a step, and what would be written where.
///
/// The steps have their whole budgets but only as many groups as fill the workers, and rewards that are made up, so that there is
/// a gradient. Memory is what the processes took at most (`VmHWM`).
public struct DryRun {
  private static let steps = 2

  private let configuration: RunConfiguration
  private let executable: String
  private let stop: StopSignal
  private let logger: Logger
  private let console: Console

  public init(
    _ configuration: RunConfiguration, executable: String, stop: StopSignal, logger: Logger, console: Console
  ) {
    self.configuration = configuration
    self.executable = executable
    self.stop = stop
    self.logger = logger
    self.console = console
  }

  /// - Returns: the report as text.
  /// - Throws: what the run itself would throw at its start, and `RoleError` when it does not fit.
  public func run() throws -> String {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("softgrpo-dry-run-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let gauge = Gauge()
    let run = try TrainingRun(
      rehearsal(folder.path), start: .new, executable: executable, stop: stop, logger: quiet(logger),
      console: Console(isTerminal: false, columns: { 80 }, write: { _ in }), isRehearsal: true)
    gauge.run = run
    run.observe(gauge)
    _ = try run.run()
    guard let measured = gauge.measured else {
      throw RoleError("the dry run was stopped before its \(Self.steps) steps were made")
    }
    return try report(measured, run)
  }

  /// The configuration of the short run.
  private func rehearsal(_ folder: String) -> RunConfiguration {
    var short = configuration
    short.run.directory = folder
    short.run.totalSteps = Self.steps
    short.run.sampleInterval = 0
    short.run.stopWhen = []
    short.learner.optimizer.warmupSteps = min(short.learner.optimizer.warmupSteps, 1)
    short.learner.checkpointInterval = 0
    short.learner.batches.miniBatchSize = 0
    short.sft.enabled = false
    short.eval.prompts = 1
    short.eval.interval = 0
    short.eval.metric = nil
    short.eval.patience = 0
    short.metrics.tensorboard = false
    short.metrics.prometheusPort = 0
    short.worker.count = max(1, short.worker.count)
    let slots = short.worker.count * short.worker.batchSize
    let filling = (slots + short.rollout.groupSize - 1) / short.rollout.groupSize
    short.rollout.promptsPerStep = min(short.rollout.promptsPerStep, max(1, filling))
    return short
  }

  private func quiet(_ logger: Logger) -> Logger {
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    return quiet
  }

  // MARK: The report

  private func report(_ measured: Measured, _ run: TrainingRun) throws -> String {
    let whole = configuration.trajectoriesPerStep
    let ratio = Double(whole) / Double(max(1, measured.trajectories))
    let sampling = measured.sampling * ratio
    let update = measured.update * ratio + measured.broadcast
    let seconds = configuration.learner.maxStaleness > 0 ? max(sampling, update) : sampling + update
    let learner = measured.learnerBytes + furtherGradients(measured, ratio, run)
    let workers = measured.workerBytes.reduce(0, +)
    let available = Self.availableBytes
    let parameters = run.parameterCount
    let isWhole = configuration.lora.rank == 0
    let checkpoint = parameters * 2 + run.trainedCount * 12
    let keep = configuration.learner.keepCheckpoints
    let kept = keep == 0 ? "all are kept" : "the newest \(keep) are kept"
    let directory = configuration.runDirectory
    var lines = ["configuration, as it is resolved:", ""]
    lines += configuration.resolvedYAML().split(separator: "\n").map { "  " + $0 }
    lines += ["", "a prompt, as the model reads it:", "", run.promptPreview ?? "  (a generated task: no template)", ""]
    lines.append(
      "measured: \(Self.steps) steps of \(measured.trajectories) samples, of \(whole) that a step of the run has"
        + (configuration.sft.enabled ? "; the supervised warm-up was left out" : ""))
    lines.append(
      "memory:   learner \(formatBytes(learner)) (\(isWhole ? "every weight is trained" : "adapters are trained")), "
        + "\(measured.workerBytes.count) workers \(measured.workerBytes.map(formatBytes).joined(separator: ", ")), in all "
        + "\(formatBytes(learner + workers)); this machine has \(available.map(formatBytes) ?? "an unknown amount") available"
    )
    lines.append(
      "a step:   \(formatFixed(measured.tokens / Double(max(1, measured.trajectories)) * Double(whole), 0)) tokens, "
        + "\(formatFixed(measured.tokens / max(1e-9, measured.sampling), 0)) tokens/s; about \(formatDuration(seconds)) "
        + "(sampling \(formatDuration(sampling)), update \(formatDuration(update)))")
    lines.append(
      "the run:  \(configuration.run.totalSteps) steps, about "
        + "\(formatDuration(seconds * Double(configuration.run.totalSteps))), without evaluations and checkpoints")
    lines += [
      "files:    \(directory)/metrics.jsonl, config.yaml, status.json, samples, tensorboard; checkpoints of "
        + "\(formatBytes(checkpoint)) in \(directory)/checkpoints, "
        + (configuration.learner.checkpointInterval > 0
          ? "every \(configuration.learner.checkpointInterval) steps; \(kept)" : "one at the end")
    ]
    if let available, learner + workers > available {
      throw RoleError(
        lines.joined(separator: "\n")
          + "\n\nthe run does not fit: it needs \(formatBytes(learner + workers)), and \(formatBytes(available)) are available: train "
          + "adapters (lora.rank), lower worker.count or worker.batch_size, or set worker.dtype to int8")
    }
    return lines.joined(separator: "\n") + "\n\nthe run fits this machine; nothing was written\n"
  }

  /// A step with more leaves holds more partial sums of the gradient at once (`GradientSum`).
  private func furtherGradients(_ measured: Measured, _ ratio: Double, _ run: TrainingRun) -> Int {
    guard configuration.learner.batches.gradientLeases != .off else { return 0 }
    func held(_ leaves: Int) -> Int { leaves <= 1 ? 0 : Int(log2(Double(leaves)).rounded(.up)) }
    let whole = Int((Double(measured.leaves) * ratio).rounded(.up))
    return max(0, held(whole) - held(measured.leaves)) * run.trainedCount * 4
  }

  /// What can be had without swapping, within the control group's limit.
  static var availableBytes: Int? {
    [availableMemory, MemoryLimits.current.controlGroup].compactMap(\.self).min()
  }

  // MARK: Measuring

  fileprivate struct Measured {
    var trajectories: Int
    var tokens: Double
    var leaves: Int
    /// Seconds of the last step.
    var sampling: Double
    var update: Double
    var broadcast: Double
    var learnerBytes: Int
    var workerBytes: [Int]
  }

  private final class Gauge: RunObserver {
    weak var run: TrainingRun?
    private(set) var measured: Measured?

    func stepped(_ step: StepReport) {
      func metric(_ name: String) -> Double { step.record.metrics[name] ?? 0 }
      func peak(_ process: String) -> Int? {
        ProcessFile.bytes("VmHWM", of: "/proc/\(process)/status")
      }
      guard step.step == DryRun.steps else { return }
      measured = Measured(
        trajectories: step.trajectories.count,
        tokens: Double(step.trajectories.reduce(0) { $0 + $1.completionCount }),
        leaves: step.leafRows.first?.count ?? 1, sampling: metric(MetricName.timeGenerate),
        update: metric(MetricName.timeUpdate), broadcast: metric(MetricName.timeBroadcast),
        learnerBytes: peak("self") ?? 0,
        workerBytes: (run?.workerProcesses ?? []).compactMap { peak("\($0)") })
    }
  }
}
