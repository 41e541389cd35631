import Coordination
import Foundation
import Learner
import Logging
import Machine
import Observability
import RunConfiguration
import Sessions
import Synchronization
import Transport
import WeightSync
import Worker

/// One run of a learner and workers in this process, over loopback: the services that the programs run, each worker and the
/// learner held to its pace.
struct FleetRun {
  /// What is run.
  struct Plan {
    var workers: Int
    /// How many of them compute gradients, too.
    var gradientWorkers = 0
    var workerPace: Pace
    /// Of `workerPace`, in turns.
    var speeds = [1.0]
    var learnerPace: Pace?
    var steps: Int
    var promptsPerStep: Int
    var slots: Int
    var maxStaleness = 0
    /// Rows of a leaf; nil: gradients are not lent.
    var leafRows: Int?
    /// Optimiser steps of a step: a divisor of the prompts.
    var miniBatches = 1
  }

  struct Step: Sendable {
    var began: Double
    var collected: Double
    var updated: Double
    var published: Double
    /// Sampled, of the trajectories that were trained.
    var tokens: Int
    /// Of each optimiser step.
    var leafRows: [[Int]]
    var identity: Digest
    var metrics: [String: Double]
    var use: ProcessorUse
  }

  struct Outcome {
    var steps: [Step]
    /// Share of its work by which the worker that fell behind most did not keep its pace.
    var shortfall: Double
    /// Until all workers held the first version.
    var joinSeconds: Double

    /// How busy the processors were from the end of one step to the end of another.
    func use(from first: Int, to last: Int) -> (own: Double, machine: Double) {
      steps[first].use.shares(until: steps[last].use)
    }

    /// Mean seconds of a step's period from the end of step `first` to the end of step `last`.
    func period(from first: Int, to last: Int) -> Double {
      (steps[last].published - steps[first].published) / Double(last - first)
    }

    func sum(_ metric: String) -> Double { steps.reduce(0) { $0 + ($1.metrics[metric] ?? 0) } }
  }

  let plan: Plan
  let stop: StopSignal
  let logger: Logger

  /// Speeds of the first `count` workers.
  static func speeds(_ speeds: [Double], count: Int) -> [Double] { (0..<count).map { speeds[$0 % speeds.count] } }

  /// - Throws: what breaks the run; `RoleError` when workers fail or it is interrupted.
  func run() throws -> Outcome {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("softgrpo-bench-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let console = Console(isTerminal: false, columns: { 80 }, write: { _ in })
    let learner = try LearnerService(
      configuration(directory: folder.path), options, stop: stop, logger: logger, console: console)
    let recorder = StepRecorder()
    learner.observers.append(recorder)
    try learner.prepareDirectory()
    let workers = PacedWorkers(plan, logger: logger)
    var joinSeconds = 0.0
    do {
      try learner.run { frontEnd in
        let start = MonotonicClock.seconds()
        try workers.start(connecting: frontEnd.controlEndpoint)
        while frontEnd.statistics().workers.count(where: { $0.heldVersion >= 0 }) < plan.workers {
          try workers.check()
          guard MonotonicClock.seconds() - start < 60 else {
            throw RoleError("not all of \(plan.workers) workers had the first weights within a minute")
          }
          usleep(5_000)
        }
        joinSeconds = MonotonicClock.seconds() - start
      }
    } catch {
      workers.end()
      throw error
    }
    let shortfall = try workers.join()
    guard recorder.steps.count == plan.steps else { throw RoleError("the measurement was stopped") }
    return Outcome(steps: recorder.steps, shortfall: shortfall, joinSeconds: joinSeconds)
  }

  private var options: LearnerService.Options {
    var options = LearnerService.Options()
    options.pace = plan.learnerPace
    return options
  }

  /// A model so small that many workers sample on one machine, untrained: what is measured does not depend on what is learned.
  /// Rewards follow the lengths, so that there are gradients.
  func configuration(directory: String) -> RunConfiguration {
    var made = RunConfiguration()
    made.run.name = "bench-fleet"
    made.run.directory = directory
    made.run.totalSteps = plan.steps
    made.run.sampleInterval = 0
    made.model.tiny.hiddenSize = 32
    made.model.tiny.layers = 1
    made.model.tiny.heads = 2
    made.model.tiny.keyValueHeads = 1
    made.model.tiny.intermediateSize = 64
    made.task.kind = .multiply
    made.task.maxPromptLength = 16
    made.rollout.thinking["density"] = .text("concrete")
    made.rollout.maxThinkingTokens = 25
    made.rollout.maxAnswerTokens = 6
    made.rollout.promptsPerStep = plan.promptsPerStep
    made.reward["math"] = 0
    made.reward["exact"] = 1
    made.reward["overlong"] = 1
    made.reward.parameters["overlong_buffer"] = .integer(
      made.rollout.maxThinkingTokens + made.rollout.maxAnswerTokens)
    made.sft.enabled = false
    made.learner.endpoints.controlEndpoint = "tcp://127.0.0.1:0"
    made.learner.endpoints.broadcastEndpoint = "tcp://127.0.0.1:0"
    made.learner.maxStaleness = plan.maxStaleness
    made.learner.optimizer.learningRate = 1e-5
    made.learner.batches.miniBatchSize = plan.miniBatches == 1 ? 0 : made.miniBatchSize / plan.miniBatches
    made.learner.batches.gradientLeases = plan.leafRows == nil ? .off : .auto
    made.learner.batches.microBatchTokens = plan.leafRows ?? 1 << 20
    made.learner.checkpointInterval = 0
    made.learner.threads = 1
    made.worker.heartbeatSeconds = 1
    made.worker.leaseTimeoutSeconds = 20
    return made
  }
}

/// Keeps what a measurement needs of each step.
private final class StepRecorder: RunObserver {
  private(set) var steps: [FleetRun.Step] = []

  func stepped(_ step: StepReport) {
    steps.append(
      FleetRun.Step(
        began: step.times.began, collected: step.times.collected, updated: step.times.updated,
        published: step.times.published, tokens: step.trajectories.reduce(0) { $0 + $1.scoredCount },
        leafRows: step.leafRows, identity: step.identity, metrics: step.record.metrics, use: .now))
  }
}

/// Worker services on threads of this process.
private final class PacedWorkers: Sendable {
  private struct State: Sendable {
    var threads: [IOThread] = []
    var failure: String?
    var shortfall = 0.0
  }

  private let plan: FleetRun.Plan
  private let logger: Logger
  private let state = Mutex(State())
  private let stop = StopSignal()

  init(_ plan: FleetRun.Plan, logger: Logger) {
    self.plan = plan
    self.logger = logger
  }

  func start(connecting endpoint: String) throws {
    for index in 0..<plan.workers {
      var options = WorkerServiceOptions(
        endpoint: endpoint, name: "paced-\(index)", threads: 1, batchSize: plan.slots,
        computesGradients: index < plan.gradientWorkers)
      var pace = plan.workerPace
      let speed = plan.speeds[index % plan.speeds.count]
      pace.tokensPerSecond = pace.tokensPerSecond.map { $0 * speed }
      pace.rowsPerSecond = pace.rowsPerSecond.map { $0 * speed }
      options.pace = pace
      let (fleet, made) = (self, options)
      let thread = try IOThread(name: "worker-\(index)") { fleet.run(made) }
      state.withLock { $0.threads.append(thread) }
    }
  }

  private func run(_ options: WorkerServiceOptions) {
    do {
      let service = try WorkerService(options, stop: stop, logger: logger)
      try service.run()
      let shortfall = service.paceKept?.shortfall ?? 0
      state.withLock { $0.shortfall = max($0.shortfall, shortfall) }
    } catch {
      state.withLock { $0.failure = "\(options.name): \(error)" }
    }
  }

  /// - Throws: `RoleError` when a worker has failed.
  func check() throws {
    if let failure = state.withLock({ $0.failure }) { throw RoleError("a worker failed: \(failure)") }
  }

  /// Asks them to end, without a learner if need be.
  func end() {
    stop.request()
    for thread in state.withLock({ $0.threads }) { thread.join() }
  }

  /// Waits for those that the learner has told to end.
  /// - Returns: the largest shortfall of any.
  func join() throws -> Double {
    for thread in state.withLock({ $0.threads }) { thread.join() }
    try check()
    return state.withLock { $0.shortfall }
  }
}
