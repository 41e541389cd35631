import Kernels
import Logging
import PolicyOptimization
import Training
import Transformer
import Transport
import WeightSync
import Wire

/// The gradient of an optimiser step: its leaves are computed one by one, by the learner and by workers that it lends them to,
/// and summed along the fixed tree, so that the sum has the same bits whoever computed which of them.
final class StepGradient {
  /// Who may help, and on what terms.
  struct Help {
    var fleet: any GradientFleet
    /// The only fingerprint that may; nil: any, at the price of the same bits.
    var fingerprint: String?
    /// Of the KL term's model, which is served to workers; nil: there is none, or nobody else has it.
    var reference: Digest?
    /// Publishes the weights of the step's later mini-batches; nil: nobody else has those.
    var weights: IntermediateWeights?
    var logger: Logger
  }

  private let passes: PolicyGradient
  private let objective: ObjectiveOptions
  private let reference: PreparedModel?
  private let type: GradientType
  private let team: ThreadTeam
  private let help: Help?
  private let pool = GradientPool()
  /// Called before each leaf of the learner's own. For tests: a learner that is slower than its workers.
  var beforeLeaf: () -> Void = {}
  /// Emulates a slower learner.
  var pacing: Pacing?
  /// Rows of the leaves of the last gradient.
  private(set) var leafRows: [Int] = []
  /// What workers did, until somebody resets it.
  var helped = GradientExchange.Totals()
  /// Who computed the last step's leaves; nil: the learner.
  private(set) var computers: [GradientOrigin?] = []
  /// Seconds spent with nothing to compute.
  private(set) var waitSeconds = 0.0

  init(
    passes: PolicyGradient, objective: ObjectiveOptions, reference: PreparedModel?, type: GradientType,
    help: Help? = nil, team: ThreadTeam
  ) {
    self.passes = passes
    self.objective = objective
    self.reference = reference
    self.type = type
    self.help = help
    self.team = team
  }

  /// Leaves the gradient of `leaves` in the state's.
  ///
  /// - Parameters:
  ///   - version: the published version that `model` is, or that it branches off.
  ///   - isIntermediate: optimiser steps of this training step lie between that version and `model`.
  ///   - excluded: names of workers whose bits are not the learner's.
  /// - Returns: what came with each leaf.
  /// - Throws: `TrainingError` or `OptimizationError`; the state's gradient is then of no use.
  func run(
    _ leaves: [GradientLeaf], state: any TrainableState, model: PreparedModel, version: Int,
    isIntermediate: Bool = false, excluded: Set<String> = []
  ) throws -> [LeafResult] {
    waitSeconds = 0
    leafRows = leaves.map(\.rowCount)
    let sum = GradientSum(
      tree: GradientTree(leafCount: leaves.count), into: state.gradientValues, type: type, pool: pool, team: team)
    var results = [LeafResult?](repeating: nil, count: leaves.count)
    computers = Array(repeating: nil, count: leaves.count)
    func compute(_ index: Int) throws {
      beforeLeaf()
      let began = MonotonicClock.now()
      let buffer = sum.takeBuffer()
      results[index] = try passes.compute(
        leaves[index], model: model, reference: reference, options: objective, type: type,
        sink: state.gradientSink(into: buffer.values, backend: model.backend, team: team), into: buffer)
      try sum.insert(buffer, at: sum.tree.leaf(index))
      pacing?.differentiated(leafRows[index], began: began)
    }
    if let help, leaves.count > 1, let objective = GradientObjective(objective, reference: help.reference),
      let offer = published(
        GradientOffer(
          version: version, leaves: leaves, objective: objective, type: type,
          elementCount: state.gradientValues.count, fingerprint: help.fingerprint, excludedWorkers: excluded),
        isIntermediate: isIntermediate, state: state, model: model)
    {
      let before = help.fleet.totals
      defer { helped.add(help.fleet.totals, since: before) }
      help.fleet.begin(offer)
      defer {
        help.fleet.end()
        help.weights?.withdraw()
      }
      while !sum.isComplete {
        while let arrived = help.fleet.takeArrived() {
          guard let gradient = verified(arrived, help) else {
            help.fleet.reject(arrived)
            continue
          }
          try sum.insert(gradient, at: arrived.node)
          for (leaf, result) in zip(arrived.leaves, arrived.results) { results[leaf] = result }
          for (leaf, origin) in zip(arrived.leaves, arrived.leafOrigins) { computers[leaf] = origin }
        }
        if let leaf = help.fleet.takeLocal() {
          let start = monotonicSeconds()
          try compute(leaf)
          help.fleet.finishLocal(leaf, seconds: monotonicSeconds() - start)
        } else if !sum.isComplete {
          // Everything is out. What does not come in time becomes the learner's again: this wait has an end.
          help.fleet.takeOver()
          let start = monotonicSeconds()
          pacing?.rested()
          help.fleet.wait(within: .milliseconds(20))
          waitSeconds += monotonicSeconds() - start
        }
      }
    } else {
      for index in leaves.indices { try compute(index) }
    }
    sum.finish()
    return results.map { $0! }
  }

  /// The offer as it can be made: of a later mini-batch once its weights are there for others. nil: they are not worth it.
  private func published(
    _ offer: GradientOffer, isIntermediate: Bool, state: any TrainableState, model: PreparedModel
  ) -> GradientOffer? {
    isIntermediate ? help?.weights?.publish(for: offer, state: state, model: model) : offer
  }

  /// The gradient that arrived; nil when its bytes are not those that were announced, or not finite.
  private func verified(_ arrived: ArrivedGradient, _ help: Help) -> GradientBuffer? {
    let verdict = arrived.verified(team: team)
    if case .good(let gradient) = verdict { return gradient }
    help.logger.warning(
      "the gradient of leaves \(arrived.leaves) from \(arrived.source) \(verdict.complaint); the learner computes it itself"
    )
    return nil
  }
}
