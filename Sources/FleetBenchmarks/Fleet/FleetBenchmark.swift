import Coordination
import Kernels
import Logging
import Machine
import Observability
import RunConfiguration
import Sessions
import Transport

/// How sampling, gradients and their overlap scale with the number of workers, measured on one machine: the real learner and
/// the real workers, each held to a speed of its own that is a small part of what the machine could do (`Pace`).
///
/// Everything but the speed of computing is real: leases, credits, versions, transfers and whatever latency they have. The
/// processors' use is measured beside it; where they were the limit there is no ratio.
public struct FleetBenchmark {
  public struct Settings: Sendable, Encodable {
    /// Numbers of workers that sample.
    public var workers = [1, 4, 16, 64]
    /// Numbers of workers that compute gradients beside the learner.
    public var gradientWorkers = [0, 1, 2, 4, 8, 16]
    /// `max_staleness` of the pipeline's runs; the first is what the others are compared with.
    public var staleness = [0, 1]
    /// Update over sampling, in seconds, of the pipeline's runs.
    public var updateShares = [0.4, 0.8]
    /// Of one worker, in the runs that scale sampling.
    public var tokensPerSecond = 200.0
    /// Of a full decode step's time, what does not depend on the number of sequences, in those runs.
    public var fixedShare = 0.0
    /// Of the learner and of each worker, in the runs that scale gradients.
    public var rowsPerSecond = 2000.0
    /// Rows of a leaf there.
    public var leafRows = 100
    /// Optimiser steps of a step where gradients are lent: a divisor of 32.
    public var miniBatches = 1
    /// Speeds of the workers as multiples of those rates, in turns; the pipeline's are all alike.
    public var speeds = [1.0]
    /// Measured steps of each run; a few more come before and after them.
    public var steps = 3
    /// Sequences that a worker decodes at once.
    public var slots = 8

    public init() {}
  }

  /// Numbers of workers that sample steps ahead without pause.
  public struct Sampling: Sendable, Encodable {
    public var workers: Int
    /// Tokens of trained trajectories over the time of the measured steps.
    public var tokensPerSecond: Double
    /// Over the rates that are stated, added up.
    public var ofStatedRate: Double
    /// Over the first row's rate times the workers; nil when the machine was the limit.
    public var ofOneWorker: Double?
    public var hedgedSamples: Int
    public var joinSeconds: Double
    public var processors: Processors
  }

  /// A learner and workers that compute a step's gradient together.
  public struct Gradients: Sendable, Encodable {
    public var workers: Int
    public var leaves: Int
    public var updateSeconds: Double
    /// Rows over all rates; the best schedule of whole leaves.
    public var divisibleSeconds: Double
    public var wholeLeafSeconds: Double
    public var updateOverDivisible: Double?
    public var updateOverWholeLeaves: Double?
    /// Sampling included, which the same workers do before.
    public var stepSeconds: Double
    public var idealStepSeconds: Double
    public var stepOverIdeal: Double?
    /// Of a step, until its samples were there.
    public var samplingSeconds: Double
    public var leasedShare: Double
    public var leases: Double
    public var learnerWaitSeconds: Double
    /// The policy's versions are the same bits as in the first row.
    public var hasSameWeights: Bool
    public var processors: Processors
  }

  /// Sampling and updating side by side.
  public struct Pipeline: Sendable, Encodable {
    /// Update over sampling as it was set; nil: the workers compute gradients, too.
    public var updateShare: Double?
    public var maxStaleness: Int
    /// g: tokens over the workers' stated rates; u: update and publication; w: what the first row's period has beside what is
    /// predicted without it.
    public var samplingSeconds: Double
    public var updateSeconds: Double
    public var weightSeconds: Double
    public var period: Double
    public var predictedPeriod: Double
    /// Steps a minute over those of the first row.
    public var speedup: Double?
    public var predictedSpeedup: Double?
    public var dropped: Int
    public var meanLag: Double
    public var largestLag: Int
    public var leasedShare: Double
    public var processors: Processors
  }

  /// What the machine had to do.
  public struct Processors: Sendable, Encodable {
    /// Of the time of those that this process may use.
    public var ownShare: Double
    /// Of all, by everybody.
    public var machineShare: Double
    /// Of its work, what the worker that fell behind most did not do in the stated time.
    public var shortfall: Double

    /// Why there is no ratio; nil when there is one.
    public var complaint: String?

    public init(ownShare: Double, machineShare: Double, shortfall: Double) {
      self.ownShare = ownShare
      self.machineShare = machineShare
      self.shortfall = shortfall
      let isSlow = shortfall > FleetBenchmark.tolerableShortfall
      guard isSlow || max(ownShare, machineShare) > ProcessorUse.saturation else { return }
      complaint =
        "the machine was the limit: \(formatFixed(max(ownShare, machineShare) * 100, 0)) % busy"
        + (isSlow ? ", a worker \(formatFixed(shortfall * 100, 1)) % short of its pace" : "")
    }

    var wereTheLimit: Bool { complaint != nil }
  }

  public struct Report: Sendable, Encodable {
    public var settings: Settings
    public var processors: Int
    public var sampling: [Sampling]
    public var gradients: [Gradients]
    public var pipeline: [Pipeline]
  }

  /// A worker that misses more of its pace than this was not measured but slowed down.
  static let tolerableShortfall = 0.02

  let settings: Settings
  let logger: Logger
  let stop: StopSignal

  /// - Throws: `RoleError` for more workers than this process may have sockets.
  public init(_ settings: Settings, stop: StopSignal, logger: Logger) throws {
    self.settings = settings
    self.logger = logger
    self.stop = stop
    let most = max(settings.workers.max() ?? 0, settings.gradientWorkers.max() ?? 0)
    // Both ends of two connections each, contexts and their event descriptors.
    let needed = most * 24 + 100
    let limit = FileDescriptorLimit.raise()
    guard needed <= limit else {
      throw RoleError(
        "\(most) workers in one process need \(needed) open files, and the limit is \(limit): raise it (ulimit -n \(needed)), "
          + "or measure fewer")
    }
  }

  /// - Parameter progress: told what is measured next.
  /// - Throws: what breaks a run.
  public func run(progress: (String) -> Void) throws -> Report {
    guard ProcessorUse.now.seesMachine else {
      throw RoleError(
        "/proc/stat cannot be read: nobody could tell whether the machine was the limit of what is measured")
    }
    return Report(
      settings: settings, processors: ProcessorFeatures.current.availableProcessors,
      sampling: try sampling(progress: progress), gradients: try gradients(progress: progress),
      pipeline: try pipeline(progress: progress))
  }

  func outcome(_ plan: FleetRun.Plan) throws -> FleetRun.Outcome {
    try FleetRun(plan: plan, stop: stop, logger: logger).run()
  }

  func processors(_ outcome: FleetRun.Outcome, from first: Int, to last: Int) -> Processors {
    let use = outcome.use(from: first, to: last)
    return Processors(ownShare: use.own, machineShare: use.machine, shortfall: outcome.shortfall)
  }
}
