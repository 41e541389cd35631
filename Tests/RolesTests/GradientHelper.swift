import Kernels
import ModelFiles
import Synchronization
import TestSupport
import Transformer
import Transport
import WeightSync
import Wire

@testable import Gradients
@testable import Worker
@testable import WorkerLink

/// A worker that computes gradients, or pretends to.
final class GradientHelper: Sendable {
  enum Behaviour: Sendable {
    case helpful
    /// Takes leases and never finishes them.
    case holding
    /// The same with those of later mini-batches alone.
    case holdingLater
    /// Announces another hash than that of its bytes.
    case corrupting
    case notFinite
    /// Finite, and its sum with another one of its kind is not.
    case overflowing
    /// Comes to the weights of later mini-batches only when they are gone.
    case lagging
    /// Says other log-probs than it computed with.
    case misremembering
    case declining
    /// Well-formed gradients that are a thousand times too large, turned round, or nothing.
    case scaling, flipping, zeroing
  }

  private struct State {
    var received = 0
    var receivedLater = 0
    var computed = 0
    /// Of them, leases of later mini-batches.
    var computedLater = 0
    var cancelled = 0
    var followed: [Int] = []
  }

  let link: WorkerLink
  private let behaviour: Behaviour
  private let configuration: ModelConfiguration
  private let state = Mutex(State())
  private let thread = Mutex<IOThread?>(nil)

  var received: Int { state.withLock { $0.received } }
  var receivedLater: Int { state.withLock { $0.receivedLater } }
  var computed: Int { state.withLock { $0.computed } }
  var computedLater: Int { state.withLock { $0.computedLater } }
  /// Intermediate versions that came, in their order.
  var followed: [Int] { state.withLock { $0.followed } }
  var cancelled: Int { state.withLock { $0.cancelled } }

  init(_ options: WorkerLinkOptions, _ behaviour: Behaviour, configuration: ModelConfiguration) throws {
    self.behaviour = behaviour
    self.configuration = configuration
    link = try WorkerLink(options, logger: quiet)
    let helper = self
    let thread = try IOThread(name: "gradient-helper") { helper.run() }
    self.thread.withLock { $0 = thread }
  }

  private func run() {
    let team = ThreadTeam(threadCount: 2)
    let layout = ParameterLayout(configuration)
    let worker = GradientWorker(team: team)
    var base: WeightSnapshot?
    /// Of the newest version, and of the weights between two optimiser steps.
    var models: [Int: GradientWorker.Model] = [:]
    var reference: (model: PreparedModel, root: [UInt8])?
    while let event = try? link.nextEvent(within: .seconds(60)) {
      switch event {
      case .base(let snapshot): base = snapshot
      case .reference(let snapshot):
        guard let backend = try? matrixBackend(for: .bfloat16) else { return }
        let weights = ModelWeights(layout: layout)
        snapshot.withWeights { _ = weights.elements.update(fromContentsOf: $0) }
        reference = (
          PreparedModel(weights, backend: backend, trainable: false, positions: 64, team: team),
          snapshot.description.root.bytes
        )
        for version in models.keys { models[version]!.reference = reference }
      case .weights, .gradientWeights:
        let snapshot: WeightSnapshot
        switch event {
        case .weights(let version): snapshot = version
        case .gradientWeights(let version): snapshot = version.snapshot
        default: continue
        }
        guard let backend = try? matrixBackend(for: .bfloat16) else { return }
        let weights = ModelWeights(layout: layout)
        var adapters: AdapterWeights?
        if let base, snapshot.description.adapter != nil {
          adapters = try? AdapterWeights(snapshot, model: layout)
          let merged = base.withWeights { adapters!.merged(into: $0, team: team) }
          _ = weights.elements.update(fromContentsOf: merged.elements)
        } else {
          snapshot.withWeights { _ = weights.elements.update(fromContentsOf: $0) }
        }
        let made = GradientWorker.Model(
          version: snapshot.version,
          model: PreparedModel(weights, backend: backend, trainable: true, positions: 64, team: team),
          adapters: adapters, reference: reference)
        guard snapshot.description.isIntermediate else {
          models = [made.version: made]
          continue
        }
        models = models.filter { $0.key >= 0 }
        models[made.version] = made
        state.withLock { $0.followed.append(made.version) }
        if behaviour != .lagging { link.report(gradientVersion: made.version) }
      case .gradient(let task):
        let isLater = task.grant.policyVersion < 0
        state.withLock {
          $0.received += 1
          if isLater { $0.receivedLater += 1 }
        }
        if behaviour == .holding || isLater && behaviour == .holdingLater { continue }
        worker.add(task)
        if behaviour == .declining {
          if let outcome = worker.decline("no memory") { try? link.send(outcome) }
          continue
        }
        while let version = worker.next?.policyVersion, let model = models[version] {
          guard let outcome = worker.step(model) else { continue }
          // Counted first: the learner may have taken it before this thread goes on.
          state.withLock {
            $0.computed += 1
            if version < 0 { $0.computedLater += 1 }
          }
          try? link.send(spoilt(outcome))
        }
      case .cancelled: state.withLock { $0.cancelled += 1 }
      default: break
      }
    }
  }

  private func spoilt(_ outcome: GradientOutcome) -> GradientOutcome {
    guard case .computed(var gradient) = outcome else { return outcome }
    switch behaviour {
    case .corrupting: gradient.ready.root[5] ^= 1
    case .misremembering: gradient.ready.logProbs[0] += 0.5
    case .notFinite, .overflowing:
      gradient.payload.bytes.storeBytes(
        of: behaviour == .notFinite ? Float.nan : 3e38, toByteOffset: 400, as: Float.self)
      gradient.ready.root =
        VersionHash.root(ofLeaves: VersionHash.leaves(of: UnsafeRawBufferPointer(gradient.payload.bytes))).bytes
    case .scaling, .flipping, .zeroing:
      let factor: Float = behaviour == .scaling ? 1000 : behaviour == .flipping ? -1 : 0
      let numbers = gradient.payload.bytes.assumingMemoryBound(to: Float.self)
      for index in numbers.indices { numbers[index] *= factor }
      gradient.ready.root =
        VersionHash.root(ofLeaves: VersionHash.leaves(of: UnsafeRawBufferPointer(gradient.payload.bytes))).bytes
    default: break
    }
    return .computed(gradient)
  }

  /// As a killed process: no goodbye.
  func kill() { link.abort() }
}
