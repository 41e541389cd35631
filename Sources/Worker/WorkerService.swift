import Coordination
import Equality
import Foundation
import Kernels
import Loading
import Logging
import Machine
import ModelFiles
import Rollouts
import Sessions
import Thinking
import Trajectories
import Transformer
import Transport
import WeightSync
import Wire
import WorkerLink

/// A stateless rollout worker: joins a learner, fetches its weights, samples what it is lent and sends it back.
///
///     let service = try WorkerService(WorkerServiceOptions(endpoint: "tcp://learner:5555"), stop: stop, logger: logger)
///     try service.run()
public struct WorkerServiceOptions: Sendable {
  /// The learner's control endpoint.
  public var endpoint: String
  public var name: String
  public var threads: Int
  /// Sequences decoded at once.
  public var batchSize: Int
  /// Arithmetic of the matrix products; nil: the learner's.
  public var dtype: RolloutDataType?
  /// Computes gradients too, when the learner asks for it.
  public var computesGradients: Bool
  /// Keys of the link; nil: none.
  public var security: LoadedSecurity?
  /// Where else to attach when the first is lost: other learners' or relays' control endpoints, in turn.
  public var alternatives: [Attachment] = []
  /// Emulates a slower machine, for measurements; nil: as fast as this one.
  public var pace: Pace?
  /// The process that started this one and without which it has no purpose; nil: it is on its own.
  public var parent: Int32?
  /// Join, say what the model needs here, and leave without taking work.
  public var isDryRun = false

  public init(
    endpoint: String, name: String? = nil, threads: Int = ProcessorFeatures.current.availableProcessors,
    batchSize: Int = 64, dtype: RolloutDataType? = nil, computesGradients: Bool = true,
    security: LoadedSecurity? = nil
  ) {
    self.endpoint = endpoint
    self.name = name ?? "\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier)"
    self.threads = threads
    self.batchSize = batchSize
    self.dtype = dtype
    self.security = security
    self.computesGradients = computesGradients
  }

  /// How the link introduces this worker: a fingerprint must be that of what computes, and a learner's dtype is known only
  /// when it has answered.
  /// - Throws: `KernelError` for a dtype that this processor lacks.
  func link(logger: Logger) throws -> WorkerLinkOptions {
    func fingerprint(under learner: ComputeType) throws -> String {
      hardwareFingerprint(try workerBackend(dtype, learner: learner.rawValue, logger: logger))
    }
    var link = WorkerLinkOptions(
      endpoint: endpoint, workerName: name, threads: threads, fingerprint: try fingerprint(under: .bfloat16),
      capacity: batchSize)
    if dtype == nil { link.float32Fingerprint = try fingerprint(under: .float32) }
    // Nothing can be trained in int8.
    link.computesGradients = computesGradients && dtype != .int8
    link.security = security?.security ?? .none
    link.alternatives = alternatives
    return link
  }
}

public final class WorkerService {
  let options: WorkerServiceOptions
  private let stop: StopSignal
  let logger: Logger
  let team: ThreadTeam
  let link: WorkerLink

  var backend: (any MatrixBackend)?
  var configuration: ModelConfiguration?
  /// The newest weights; not in use while samples of the version before are still running.
  var newest: WeightSnapshot?
  /// What adapter versions are merged into.
  var base: WeightSnapshot?
  var engine: SamplingEngine?
  /// The base whose head the engine's model has packed; nil: another one.
  var headOwner: WeightSnapshot?
  var engineVersion = -1
  /// Longest sequence the engine has room for; grows with what leases ask for.
  var positions = 0
  private var queue: [Lease] = []
  private var running: [UInt64: Running] = [:]
  private var isDraining = false
  let gradients: GradientWorker
  let pacing: Pacing?
  var differentiated = Differentiated()

  /// What gradients are computed with.
  struct Differentiated {
    /// Prepared for both passes, when it is not the engine's model.
    var model: GradientWorker.Model?
    /// Weights between two optimiser steps: never sampled with.
    var weights: WeightSnapshot?
    /// The frozen model of the KL term, and what of it is computed with once a gradient needs it.
    var reference: WeightSnapshot?
    var referenceModel: PreparedModel?
    /// Whether a gradient was ever asked for: the engine's models are then prepared for it, and serve both.
    var wasAsked = false
  }

  private struct Running {
    var lease: Lease
    var started: Double
    var remaining: Set<Int>
  }

  /// - Throws: `TransportError` for an endpoint that cannot be one, `KernelError` for a dtype that this processor lacks.
  public init(_ options: WorkerServiceOptions, stop: StopSignal, logger: Logger) throws {
    self.options = options
    self.stop = stop
    self.logger = logger
    team = ThreadTeam(threadCount: options.threads)
    link = try WorkerLink(options.link(logger: logger), logger: logger)
    pacing = options.pace.map { Pacing($0) }
    gradients = GradientWorker(team: team, pacing: pacing)
  }

  /// Works until the learner ends the run, or until SIGTERM: then what was started is finished and delivered first.
  ///
  /// - Throws: when the link has broken for good, or the learner's model is not usable here.
  public func run() throws {
    do { try work() } catch {
      // No goodbye: work that ends its workers must count as such, or it would end one after the other.
      link.abort()
      throw error
    }
  }

  private func work() throws {
    var lastReport = MonotonicClock.seconds()
    var sampledAtReport = 0
    // Seconds of sampling alone: waiting for work says nothing about the speed.
    var busy = 0.0
    while true {
      if let parent = options.parent, getppid() != parent {
        logger.warning("the process \(parent) that started this worker is gone: it ends, too")
        _ = link.close(reason: "orphaned")
        return
      }
      if stop.isRequested && !isDraining {
        logger.info("draining: finishing \(running.count + queue.count) leases, taking no new ones")
        isDraining = true
        link.drain()
      }
      let isIdle = (engine?.isIdle ?? true) && !gradients.hasWork
      if isIdle && queue.isEmpty { pacing?.rested() }
      while let event = try link.nextEvent(within: isIdle && queue.isEmpty ? .milliseconds(200) : .zero) {
        if try !handle(event) {
          _ = link.close(reason: "the run is over")
          return
        }
        if !queue.isEmpty || gradients.hasWork || hasUnpreparedWeights { break }
      }
      // The learner's step waits for gradients, so they come first; between two leaves there is a step of sampling.
      prepareGradientWeights()
      try computeGradients()
      try admit()
      if let engine, !engine.isIdle {
        let (began, before) = (MonotonicClock.now(), engine.statistics.sampledTokens)
        do {
          let finished = try engine.step()
          pacing?.sampled(engine.statistics.sampledTokens - before, began: began)
          try deliver(finished)
        } catch let error as SamplingError {
          logger.error("sampling failed: \(error)")
          throw error
        }
        let now = MonotonicClock.seconds()
        busy += (MonotonicClock.now() - began).inSeconds
        if now - lastReport >= 1 {
          let sampled = engine.statistics.sampledTokens
          link.report(
            tokensPerSecond: Double(max(0, sampled - sampledAtReport)) / max(1e-9, busy),
            activeSlots: engine.activeSlots)
          (lastReport, sampledAtReport, busy) = (now, sampled, 0)
        }
      } else if isDraining && queue.isEmpty && !gradients.hasWork {
        let delivered = link.close(reason: "drained", within: .seconds(10))
        logger.info("drained\(delivered ? "" : "; some results were not acknowledged and will be sampled again")")
        return
      }
    }
  }

  /// How well a stated pace was kept, for the thread that runs the service.
  package var paceKept: PaceKeeper? { pacing?.keeper }

  /// - Returns: false when the run is over.
  private func handle(_ event: WorkerEvent) throws -> Bool {
    switch event {
    case .joined(let welcome):
      queue = []
      running = [:]
      engine = nil
      engineVersion = -1
      newest = nil
      base = nil
      gradients.removeAll()
      differentiated.model = nil
      dropGradientWeights()
      (differentiated.reference, differentiated.referenceModel) = (nil, nil)
      let described = try ModelConfiguration(welcome.model)
      try ModelMemory.checkSampling(described)
      configuration = described
      backend = try Loading.workerBackend(options.dtype, learner: welcome.dtype, logger: logger)
      logger.info("joined run \(welcome.runID): \(welcome.model.architecture), \(welcome.model.layerCount) layers")
      if options.isDryRun {
        logger.notice("\(memoryNeeded(described))")
        return false
      }
    case .base(let snapshot): base = snapshot
    case .reference(let snapshot): (differentiated.reference, differentiated.referenceModel) = (snapshot, nil)
    case .deltas, .caught: break
    case .weights(let snapshot):
      newest = snapshot
      dropGradientWeights()
    case .gradientWeights(let version): differentiated.weights = version.snapshot
    case .lease(let lease):
      if let complaint = lease.complaint {
        logger.error("lease \(lease.id) is declined: \(complaint)")
        link.giveBack(
          ReturnedWork(
            leaseID: lease.id, sampleIndices: lease.sampleIndices,
            reason: complaint.bounded(toBytes: String.reasonByteCount)))
      } else {
        queue.append(lease)
      }
    case .gradient(let task): gradients.add(task)
    case .cancelled(let leaseIDs):
      gradients.cancel(leaseIDs)
      queue.removeAll { leaseIDs.contains($0.id) }
      for id in leaseIDs where running.removeValue(forKey: id) != nil { engine?.cancel(id) }
    case .cancelledSamples(let id, let samples):
      if let index = queue.firstIndex(where: { $0.id == id }) {
        queue[index].sampleIndices.removeAll { samples.contains($0) }
        if queue[index].sampleIndices.isEmpty { queue.remove(at: index) }
      } else if var entry = running[id] {
        engine?.cancel(id, samples: samples)
        entry.remaining.subtract(samples)
        running[id] = entry.remaining.isEmpty ? nil : entry
      }
    // The link has said so.
    case .disconnected: break
    case .drain(let reason):
      logger.info("asked to drain: \(reason)")
      isDraining = true
    case .shutdown(let reason):
      logger.info("the learner ends the run: \(reason)")
      return false
    }
    return true
  }

  /// What a model takes here, in words.
  private func memoryNeeded(_ model: ModelConfiguration) -> String {
    let element = options.dtype == .int8 ? 1 : backend?.computeType.byteCount ?? 2
    let position =
      model.layerCount * model.keyValueHeadCount * model.headDimension * 2 * (backend?.computeType.byteCount ?? 2)
    return
      "the model's \(model.parameterCount) weights take \(model.parameterCount * (2 + element) >> 20) MiB to sample with, "
      + "their packed copy included; caches take at most \(position * options.batchSize * 1000 >> 20) MiB for \(options.batchSize) "
      + "sequences of 1000 positions; gradients take \(model.parameterCount * 8 >> 20) MiB more; this machine may use "
      + "\(MemoryLimits.current.narrowest.map { "\($0.bytes >> 20) MiB" } ?? "an unknown amount")"
  }

  /// Starts queued leases; new weights are taken up once nothing of the version before is running, or at once where samples
  /// may go on under them.
  private func admit() throws {
    let isStale = newest.map { $0.version != engineVersion } ?? false
    let isIdle = engine?.isIdle ?? true
    if isStale, !isIdle, let newest, running.values.allSatisfy({ $0.lease.continues(under: newest.version) }) {
      try load(newest, positions: positions)
    }
    guard !queue.isEmpty else { return }
    let longest = queue.map(\.longestSequence).max() ?? 0
    if isStale || longest > positions, isIdle, let newest {
      try load(newest, positions: max(longest, positions))
    }
    guard let engine else { return }
    var waiting: [Lease] = []
    for lease in queue {
      if lease.policyVersions.contains(engineVersion) && lease.longestSequence <= positions {
        try engine.submit(try SamplingRequest(lease, policyVersion: engineVersion))
        running[lease.id] = Running(
          lease: lease, started: MonotonicClock.seconds(), remaining: Set(lease.sampleIndices))
      } else if newest.map({ lease.policyVersions.contains($0.version) }) ?? false {
        waiting.append(lease)
      } else {
        logger.warning(
          "lease \(lease.id) wants versions \(lease.policyVersions), this worker has \(engineVersion); dropped")
      }
    }
    queue = waiting
  }

  func load(_ snapshot: WeightSnapshot, positions needed: Int) throws {
    guard let configuration, let backend else { return }
    let weights = try weights(of: snapshot, layout: ParameterLayout(configuration))
    // Whole key/value pages, so that slightly longer leases do not make a new pool.
    let room = min(configuration.contextLength, (needed + 255) / 256 * 256)
    let model = PreparedModel(
      weights, backend: backend, trainable: differentiated.wasAsked, positions: room, team: team,
      sharing: engine?.model,
      keepsHead: snapshot.description.adapter != nil && headOwner === base)
    headOwner = snapshot.description.adapter == nil ? nil : base
    if let engine, room <= positions {
      try engine.replaceModel(model, continuingAs: engine.isIdle ? nil : snapshot.version)
    } else {
      engine = nil
      engine = try SamplingEngine(model: model, slots: options.batchSize, maximumPositions: room, team: team)
      positions = room
    }
    engineVersion = snapshot.version
    differentiated.model = nil
    logger.debug("sampling with version \(snapshot.version)")
  }

  /// The weights that a version stands for; of adapters the bits that the learner computes with, or an error.
  func weights(of snapshot: WeightSnapshot, layout: ParameterLayout) throws -> ModelWeights {
    func check(_ snapshot: WeightSnapshot) throws {
      guard snapshot.byteCount != layout.count * 2 else { return }
      throw RoleError(
        "version \(snapshot.version) has \(snapshot.byteCount) bytes, the learner's model needs \(layout.count * 2)")
    }
    guard let description = snapshot.description.adapter else {
      try check(snapshot)
      return snapshot.withWeights { ModelWeights(layout: layout, borrowing: $0.baseAddress!, from: snapshot) }
    }
    guard let base, base.description == description.base else {
      throw RoleError("version \(snapshot.version) holds adapters, but their base has not come")
    }
    try check(base)
    let adapters = try AdapterWeights(snapshot, model: layout)
    let merged = base.withWeights { adapters.merged(into: $0, team: team) }
    let root = merged.root(team: team)
    guard root == description.mergedRoot else {
      throw RoleError(
        "version \(snapshot.version): merging its adapters gives \(root), the learner announced \(description.mergedRoot); run "
          + "the learner's version of softgrpo here")
    }
    return merged
  }

  private func deliver(_ finished: [SampledTrajectory]) throws {
    for sample in finished {
      guard var entry = running[sample.requestID] else { continue }
      let trajectory = sample.trajectory
      try link.send(
        TrajectoryResult(
          leaseID: entry.lease.id, groupOrdinal: entry.lease.groupOrdinal, sampleIndex: trajectory.sampleIndex,
          policyVersion: trajectory.policyVersion, segments: trajectory.segments,
          finishReason: trajectory.finishReason,
          elapsedMicroseconds: Int((MonotonicClock.seconds() - entry.started) * 1e6),
          versionSpans: trajectory.versionSpans))
      entry.remaining.remove(trajectory.sampleIndex)
      running[sample.requestID] = entry.remaining.isEmpty ? nil : entry
    }
  }
}
