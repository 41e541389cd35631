import Foundation
import Gradients
import Kernels
import Machine
import Objectives
import Parameters
import Sessions
import Thinking
import Training
import Trajectories
import Transformer
import Transport
import WeightSync
import Wire

/// Computes gradient leases with the learner's own code, a leaf at a time so that sampling may go on in between.
final class GradientWorker {
  /// What a lease needs to be computed.
  struct Model {
    var version: Int
    var model: PreparedModel
    /// The factors of an adapter version; nil: every weight is differentiated.
    var adapters: AdapterWeights?
    /// The frozen model of the KL term, and its root.
    var reference: (model: PreparedModel, root: [UInt8])?
  }

  private struct Work {
    var task: GradientTask
    var leaves: [GradientLeaf]
    var loss: Loss
    /// nil: the log-probs alone are asked for.
    var sum: (target: GradientBuffer, sum: GradientSum)?
    var results: [LeafResult] = []
    var seconds = 0.0
  }

  private let team: ThreadTeam
  private let pacing: Pacing?
  private let passes: PolicyGradient
  private let pool = GradientPool()
  private var tasks: [GradientTask] = []
  private var current: Work?
  private var adapterSink: (sink: AdapterGradient, adapters: AdapterWeights)?

  init(team: ThreadTeam, pacing: Pacing? = nil) {
    self.team = team
    self.pacing = pacing
    passes = PolicyGradient(team: team)
  }

  var hasWork: Bool { current != nil || !tasks.isEmpty }
  /// What is to be computed next.
  var next: GradientGrant? { (current?.task ?? tasks.first)?.grant }

  func add(_ task: GradientTask) { tasks.append(task) }

  func cancel(_ ids: [UInt64]) {
    tasks.removeAll { ids.contains($0.grant.id) }
    if let id = current?.task.grant.id, ids.contains(id) { current = nil }
  }

  func removeAll() {
    tasks = []
    current = nil
    adapterSink = nil
  }

  /// The lease that is next cannot be computed here.
  func decline(_ reason: String, isNotFinite: Bool = false) -> GradientOutcome? {
    guard let id = (current?.task ?? tasks.first)?.grant.id else { return nil }
    cancel([id])
    return .declined(leaseID: id, reason: reason, isNotFinite: isNotFinite)
  }

  /// Computes the next leaf.
  ///
  /// - Returns: the lease that is finished by it, or that is not to be computed here.
  func step(_ model: Model) -> GradientOutcome? {
    do {
      if current == nil { try begin(model) }
      guard let work = current else { return nil }
      guard work.task.grant.loss.divergence?.referenceRoot == model.reference?.root else {
        throw RoleError("the lease has a KL term, and its reference model is not here")
      }
      let (start, began) = (MonotonicClock.seconds(), MonotonicClock.now())
      let index = work.results.count
      var result = LeafResult()
      if let (_, sum) = work.sum {
        let buffer = sum.takeBuffer()
        result = try passes.compute(
          work.leaves[index], model: model.model, reference: model.reference?.model, loss: work.loss,
          type: sum.type, sink: sink(model, buffer), into: buffer)
        try sum.insert(buffer, at: sum.tree.leaf(index))
      } else {
        result.logProbs = try passes.score(
          work.leaves[index].microBatches.map { $0.map(\.trajectory) }, model: model.model)
      }
      pacing?.differentiated(work.leaves[index].rowCount, began: began)
      current!.results.append(result)
      current!.seconds += MonotonicClock.seconds() - start
      guard current!.results.count == work.leaves.count else { return nil }
      return try finish(current!)
    } catch let error as TrainingError {
      return decline(error.message, isNotFinite: true)
    } catch let error as ObjectiveError {
      return decline("\(error)", isNotFinite: true)
    } catch {
      return decline("\(error)")
    }
  }

  private func begin(_ model: Model) throws {
    guard !tasks.isEmpty else { return }
    let task = tasks[0]
    let grant = task.grant
    let configuration = model.model.configuration
    let count = model.adapters?.layout.count ?? model.model.layout.count
    let asksForScores = grant.elementCount == 0
    guard asksForScores || grant.elementCount == count, let type = GradientType(rawValue: grant.gradientType) else {
      throw RoleError("the lease is of \(grant.elementCount) numbers, this model's gradient has \(count)")
    }
    let leaves = try task.leaves()
    let loss = try grant.loss.loss()
    let isComplete = leaves.allSatisfy { leaf in
      leaf.microBatches.joined().allSatisfy {
        grant.loss.objective == nil ? $0.coefficients != nil : !$0.advantages.isEmpty
      }
    }
    guard asksForScores || isComplete else {
      throw RoleError("the lease has trajectories without an advantage or without the coefficients of their slots")
    }
    for item in leaves.flatMap({ $0.microBatches.joined() }) {
      try item.trajectory.validate(
        vocabularySize: configuration.vocabularySize, contextLength: configuration.contextLength,
        hiddenSize: configuration.hiddenSize)
    }
    guard !asksForScores else {
      tasks.removeFirst()
      current = Work(task: task, leaves: leaves, loss: loss)
      return
    }
    // A subtree has the shape of a tree of its leaves: its first leaf's number is a multiple of its size.
    let tree = GradientTree(leafCount: leaves.count)
    let needed = (tree.nodesHeldInOrder + 1) * count * 4
    if let available = availableMemory, available < needed + needed / 4 {
      throw RoleError(
        "computing it takes \(needed >> 20) MiB beside the activations, and \(available >> 20) MiB are free")
    }
    tasks.removeFirst()
    let target = GradientBuffer(count: count)
    current = Work(
      task: task, leaves: leaves, loss: loss,
      sum: (
        target,
        GradientSum(
          tree: tree, into: UnsafeMutableBufferPointer(start: target.values, count: count), type: type, pool: pool,
          team: team)
      ))
  }

  private func sink(_ model: Model, _ buffer: GradientBuffer) -> WeightGradientSink {
    guard let adapters = model.adapters else { return .full(buffer.values) }
    if let adapterSink {
      if adapterSink.adapters !== adapters { adapterSink.sink.prepare(adapters, team: team) }
      self.adapterSink = (adapterSink.sink, adapters)
      adapterSink.sink.gradient = buffer.values
      return .adapters(adapterSink.sink)
    }
    let made = AdapterGradient(adapters, gradient: buffer.values, backend: model.model.backend, team: team)
    adapterSink = (made, adapters)
    return .adapters(made)
  }

  private func finish(_ work: Work) throws -> GradientOutcome {
    let start = MonotonicClock.seconds()
    var payload = GradientPayload(count: 0, type: .float32)
    var root = Digest.zero
    if let (target, sum) = work.sum {
      sum.finish()
      guard target.isFinite(team: team) else { throw TrainingError("the gradient is not finite") }
      payload = GradientPayload(target, type: sum.type, team: team)
      root = VersionHash.root(
        ofLeaves: VersionHash.leaves(of: UnsafeRawBufferPointer(payload.bytes), team: team))
    }
    current = nil
    return .computed(
      ComputedGradient(
        ready: GradientReady(
          leaseID: work.task.grant.id, sums: work.results.map(\.sums),
          logProbs: work.results.flatMap { $0.logProbs.flatMap { $0 } }, root: root.bytes,
          elapsedMicroseconds: Int((work.seconds + MonotonicClock.seconds() - start) * 1e6)), payload: payload))
  }
}
