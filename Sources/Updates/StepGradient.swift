import Coordination
import Foundation
import Gradients
import Kernels
import Logging
import Machine
import Objectives
import Training
import Transformer
import Transport
import WeightSync
import Wire

/// The gradient of an optimiser step: its leaves are computed one by one, by the learner and by workers that it lends them to,
/// and summed along the fixed tree, so that the sum has the same bits whoever computed which of them.
package final class StepGradient {
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
    /// Probability that a leaf which somebody else computed is computed again before it is added.
    var verification = 0.0
    /// Whether those who proved a key compute no leaf that they sampled of: its log-probs are then somebody else's word on theirs.
    var separatesSamplers = false
    /// A worker's gradient has other bits than the learner's: told who it was.
    var caught: (Party, String) -> Void = { _, _ in }
  }

  /// A gradient that came is not the one that its leaves have.
  private struct WrongGradient: Error {
    var arrived: ArrivedGradient
    /// Of a relay's: those behind it whose own nodes are wrong; none: the relay's sum is.
    var workers: [String]
  }

  let passes: PolicyGradient
  private let loss: Loss
  private let reference: PreparedModel?
  private let type: GradientType
  private let team: ThreadTeam
  private let help: Help?
  private let pool = GradientPool()
  /// Called before each leaf of the learner's own. For tests: a learner that is slower than its workers.
  var beforeLeaf: () -> Void = {}
  /// Emulates a slower learner.
  package var pacing: Pacing?
  /// Rows of the leaves of the last gradient.
  private(set) var leafRows: [Int] = []
  /// What workers did, until somebody resets it.
  var helped = GradientTotals()
  /// Who computed the last step's leaves; nil: the learner.
  private(set) var computers: [GradientOrigin?] = []
  /// Leaves of others that were computed again, until somebody resets it.
  package var verified = 0
  /// Seconds spent with nothing to compute.
  var waitSeconds = 0.0
  private var saidWhoSampled = false
  /// Of each relay, the workers behind it that sent a wrong gradient in this run.
  private var caughtBelow: [Party: Set<String>] = [:]
  /// Largest norm of a leaf that the learner computed itself, halved with every step since.
  private var largestNorm = 0.0
  /// Times `largestNorm` from which on a gradient is computed again in any case.
  private static let unusualNorm = 8.0
  /// Workers that a relay can blame before it is asked no longer.
  private static let namesOfARelay = 3

  init(
    passes: PolicyGradient, loss: Loss, reference: PreparedModel?, type: GradientType,
    help: Help? = nil, team: ThreadTeam
  ) {
    self.passes = passes
    self.loss = loss
    self.reference = reference
    self.type = type
    self.help = help
    self.team = team
  }

  /// What is differentiated or scored, and on what terms.
  struct Weights {
    var state: any TrainableState
    var model: PreparedModel
    /// The published version that `model` is, or that it branches off.
    var version: Int
    /// Optimiser steps of this training step lie between that version and `model`.
    var isIntermediate = false
    /// Names of workers whose bits are not the learner's.
    var excluded: Set<String> = []
    /// Of each leaf those who sampled of it.
    var samplers: [Set<Party>] = []
  }

  /// Leaves the gradient of `leaves` in the state's.
  ///
  /// - Returns: what came with each leaf.
  /// - Throws: `TrainingError` or `ObjectiveError`; the state's gradient is then of no use.
  func run(_ leaves: [GradientLeaf], _ weights: Weights) throws -> [LeafResult] {
    while true {
      do { return try attempt(leaves, weights) } catch let wrong as WrongGradient {
        // What else came from there is in the sum: it begins anew without that worker, so that the update has the honest bits.
        accuse(wrong)
      }
    }
  }

  /// A worker answers by its key; one behind a relay by the name that the relay gives, there alone. A relay is asked no longer
  /// when its sum is not that of what it says that it was sent, and after three workers that it named: a name costs it nothing.
  private func accuse(_ wrong: WrongGradient) {
    let arrived = wrong.arrived
    guard let help, let party = arrived.party else { return }
    help.logger.error(
      """
      the gradient of leaves \(arrived.leaves) from \(arrived.source), \(party), is not the one that the learner computes: it is caught, \
      and the step's gradient is computed anew without \(wrong.workers.isEmpty ? "it" : wrong.workers.joined(separator: ", "))
      """)
    let reason = "its gradient of leaves \(arrived.leaves) has other bits than the learner's"
    guard arrived.isFromRelay else {
      help.fleet.exclude(party)
      return help.caught(party, reason)
    }
    for name in wrong.workers where caughtBelow[party, default: []].insert(name).inserted {
      help.caught(party.behind(name: name), reason)
    }
    if wrong.workers.isEmpty || caughtBelow[party, default: []].count >= Self.namesOfARelay {
      help.fleet.exclude(party)
    }
  }

  /// Whether what came is computed again: by chance, and always where its norm is far from any that is known to be right.
  private func isChosen(_ arrived: ArrivedGradient, _ gradient: GradientBuffer) -> Bool {
    guard let rate = help?.verification, rate > 0, help?.fingerprint != nil else { return false }
    let norm = gradient.squaredNorm(team: team).squareRoot() / Double(arrived.leaves.count)
    if norm > Self.unusualNorm * largestNorm { return true }
    return Double.random(in: 0..<1) >= pow(1 - rate, Double(arrived.leaves.count))
  }

  private func attempt(_ leaves: [GradientLeaf], _ weights: Weights) throws -> [LeafResult] {
    waitSeconds = 0
    leafRows = leaves.map(\.rowCount)
    let (state, model) = (weights.state, weights.model)
    let sum = GradientSum(
      tree: GradientTree(leafCount: leaves.count), into: state.gradientValues, type: type, pool: pool, team: team)
    var results = [LeafResult?](repeating: nil, count: leaves.count)
    computers = Array(repeating: nil, count: leaves.count)
    let verifies = (help?.verification ?? 0) > 0 && help?.fingerprint != nil
    largestNorm /= 2
    func compute(_ index: Int) throws {
      beforeLeaf()
      let began = MonotonicClock.now()
      let buffer = sum.takeBuffer()
      results[index] = try passes.compute(
        leaves[index], model: model, reference: reference, loss: loss, type: type,
        sink: state.gradientSink(into: buffer.values, backend: model.backend, team: team), into: buffer)
      if verifies { largestNorm = max(largestNorm, buffer.squaredNorm(team: team).squareRoot()) }
      try sum.insert(buffer, at: sum.tree.leaf(index))
      pacing?.differentiated(leafRows[index], began: began)
    }
    let isBlind = leaves.allSatisfy { $0.microBatches.joined().allSatisfy { $0.coefficients != nil } }
    let wireLoss = GradientLoss(loss, isBlind: isBlind, reference: help?.reference)
    try withHelp(
      leaves, weights, loss: wireLoss, elementCount: state.gradientValues.count,
      samplers: help?.separatesSamplers == true ? weights.samplers : [], compute: compute,
      isComplete: { sum.isComplete }
    ) { arrived, gradient in
      if isChosen(arrived, gradient) {
        verified += arrived.leaves.count
        let check = GradientCheck(passes: passes, loss: loss, reference: reference, type: type, team: team)
        if let workers = try check.wrongWorkers(arrived, leaves, weights) {
          throw WrongGradient(arrived: arrived, workers: workers)
        }
      }
      try sum.insert(gradient, at: arrived.node)
      for (leaf, result) in zip(arrived.leaves, arrived.results) { results[leaf] = result }
      for (leaf, origin) in zip(arrived.leaves, arrived.leafOrigins) { computers[leaf] = origin }
    }
    sum.finish()
    return results.map { $0! }
  }

  /// The log-probs of leaves under a model, computed like a gradient: by the learner and by workers that hold the weights.
  ///
  /// - Returns: of every trajectory in the leaves' order, one a slot; and who computed them, nil: the learner.
  /// - Throws: `TrainingError` when a log-prob is not finite.
  func score(
    _ leaves: [GradientLeaf], _ weights: Weights
  ) throws -> (logProbs: [[Float]], computers: [GradientOrigin?]) {
    waitSeconds = 0
    var results = [[[Float]]?](repeating: nil, count: leaves.count)
    var origins = [GradientOrigin?](repeating: nil, count: leaves.count)
    func compute(_ index: Int) throws {
      beforeLeaf()
      results[index] = try passes.score(
        leaves[index].microBatches.map { $0.map(\.trajectory) }, model: weights.model)
    }
    try withHelp(
      leaves, weights, loss: GradientLoss(objective: nil), elementCount: 0, keepsWeights: true, compute: compute,
      isComplete: { results.allSatisfy { $0 != nil } }
    ) { arrived, _ in
      for (leaf, result) in zip(arrived.leaves, arrived.results) { results[leaf] = result.logProbs }
      for (leaf, origin) in zip(arrived.leaves, arrived.leafOrigins) { origins[leaf] = origin }
    }
    let counts = leaves.map { $0.microBatches.reduce(0) { $0 + $1.count } }
    return (
      results.flatMap { $0! }, zip(origins, counts).flatMap { Array(repeating: $0, count: $1) }
    )
  }

  /// Computes leaves, lending those that others would be sooner done with.
  ///
  /// - Parameters:
  ///   - loss: nil: nobody else can compute it.
  ///   - samplers: who may not compute which leaf.
  ///   - keepsWeights: the weights of a later mini-batch stay published: its gradient follows.
  ///   - take: what arrived, verified.
  private func withHelp(
    _ leaves: [GradientLeaf], _ weights: Weights, loss: GradientLoss?, elementCount: Int,
    samplers: [Set<Party>] = [], keepsWeights: Bool = false, compute: (_ leaf: Int) throws -> Void,
    isComplete: () -> Bool,
    take: (ArrivedGradient, GradientBuffer) throws -> Void
  ) throws {
    var made = GradientOffer(
      version: weights.version, leaves: leaves, loss: loss ?? GradientLoss(objective: nil), type: type,
      elementCount: elementCount, fingerprint: help?.fingerprint, excludedWorkers: weights.excluded, samplers: samplers)
    made.caughtBelow = caughtBelow
    guard let help, leaves.count > 1, loss != nil, let offer = published(made, weights) else {
      for index in leaves.indices { try compute(index) }
      return
    }
    noteSamplers(samplers, help.logger)
    let before = help.fleet.totals
    defer { helped.add(help.fleet.totals, since: before) }
    help.fleet.begin(offer)
    defer {
      help.fleet.end()
      if !keepsWeights { help.weights?.withdraw() }
    }
    while !isComplete() {
      while let arrived = help.fleet.takeArrived() {
        guard let gradient = verified(arrived, offer, help) else {
          help.fleet.reject(arrived)
          continue
        }
        try take(arrived, gradient)
      }
      if let leaf = help.fleet.takeLocal() {
        let start = MonotonicClock.seconds()
        try compute(leaf)
        help.fleet.finishLocal(leaf, seconds: MonotonicClock.seconds() - start)
      } else if !isComplete() {
        // Everything is out. What does not come in time becomes the learner's again: this wait has an end.
        help.fleet.takeOver()
        let start = MonotonicClock.seconds()
        pacing?.rested()
        help.fleet.wait(within: .milliseconds(20))
        waitSeconds += MonotonicClock.seconds() - start
      }
    }
  }

  /// Says once that the keys which sampled a step may compute nothing of it, since each sampled of every leaf.
  private func noteSamplers(_ samplers: [Set<Party>], _ logger: Logger) {
    guard !saidWhoSampled, let all = samplers.first, !all.isEmpty, samplers.allSatisfy({ $0 == all }) else { return }
    saidWhoSampled = true
    let who =
      all.count == 1
      ? "one key sampled all of this step" : "each of \(all.count) keys sampled of every leaf of this step"
    let remedy = all.count == 1 ? "a second key" : "a smaller learner.micro_batch_tokens, for leaves of fewer samples,"
    logger.notice(
      """
      \(who), and at learner.verification sampled nobody computes the gradient of its own samples: the learner computes it alone; \
      \(remedy) or learner.verification all lets it be lent
      """)
  }

  /// The offer as it can be made: of a later mini-batch once its weights are there for others. nil: they are not worth it.
  private func published(_ offer: GradientOffer, _ weights: Weights) -> GradientOffer? {
    weights.isIntermediate
      ? help?.weights?.publish(for: offer, state: weights.state, model: weights.model) : offer
  }

  /// The gradient that arrived; nil when its bytes are not those that were announced, or not finite.
  private func verified(_ arrived: ArrivedGradient, _ offer: GradientOffer, _ help: Help) -> GradientBuffer? {
    let verdict = offer.asksForScores ? arrived.withoutBytes : arrived.verified(team: team)
    if case .good(let gradient) = verdict { return gradient }
    help.logger.warning(
      "the gradient of leaves \(arrived.leaves) from \(arrived.source) \(verdict.complaint); the learner computes it itself"
    )
    return nil
  }
}
