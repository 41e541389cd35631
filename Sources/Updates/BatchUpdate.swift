import Coordination
import Credit
import Equality
import Foundation
import Gradients
import Kernels
import Objectives
import Observability
import Optimization
import Thinking
import Training
import Trajectories
import Transformer
import Wire

/// One learner step on collected trajectories: advantages, mini-batches, gradients, AdamW.
package final class BatchUpdate {
  private(set) var method: UpdateMethod
  private let reference: PreparedModel?
  private var loss: Loss { method.loss }
  private let options: UpdateOptions
  private let tokenBudget: Int
  private let team: ThreadTeam
  package let gradient: StepGradient
  /// Whether each micro-batch is a leaf of the sum, or all are one.
  private let sumsLeaves: Bool
  package let audit: LogProbAudit
  private let importanceCap: Float?
  /// Under decoupled clipping.
  private var behaviourCap: Float? {
    if case .decoupled(let cap) = method.offPolicy { cap } else { nil }
  }
  /// The same where the pass forms the weights.
  private var slotBehaviourCap: Float? { method.correction?.isDecoupled == true ? nil : behaviourCap }

  /// - Parameters:
  ///   - audit: decides whose log-probs are relied on.
  ///   - importanceCap: cap of the truncated importance weights where the learner's own log-probs are the old ones; nil: no
  ///     correction.
  ///   - sumsLeaves: sums the micro-batches' gradients along the fixed tree (docs/gradient-leases.md), so that the update's
  ///     bits do not depend on who computed which; false: one after the other in one buffer, which needs no further memory.
  ///   - gradientType: what the gradients of the sum are rounded to.
  ///   - help: workers that compute leaves; nil: the learner is alone.
  init(
    method: UpdateMethod, options: UpdateOptions, tokenBudget: Int, reference: PreparedModel?,
    audit: LogProbAudit, importanceCap: Float?, activationMemoryBudget: Int = automaticActivationMemoryBudget,
    sumsLeaves: Bool = true, gradientType: GradientType = .float32, help: StepGradient.Help? = nil, team: ThreadTeam
  ) {
    self.method = method
    self.reference = reference
    self.options = options
    self.tokenBudget = tokenBudget
    self.audit = audit
    self.importanceCap = importanceCap
    self.sumsLeaves = sumsLeaves
    self.team = team
    let passes = PolicyGradient(team: team)
    passes.activationMemoryBudget = activationMemoryBudget
    gradient = StepGradient(
      passes: passes, loss: method.loss, reference: reference, type: gradientType, help: help,
      team: team)
  }

  /// Runs the step's optimiser updates; `model` becomes the new policy.
  ///
  /// Trajectories without an advantage have no gradient and are skipped, unless a KL term acts on them; the weights of
  /// the loss count them all the same.
  ///
  /// The first mini-batch's pass computes the log-probs of the policy that sampled, so its trajectories at `version` have
  /// those as old log-probs, whoever their worker is, and all of them are compared with what the worker recorded. Later
  /// mini-batches see other weights: there a worker that `audit` relies on spares a pass, and the others' trajectories are
  /// scored before the weights move. Where old and recorded log-probs differ, truncated importance weights correct the
  /// loss; where they are equal the weights are 1. Older trajectories keep the worker's log-probs as denominators, or under
  /// decoupled clipping have those of the step's beginning and behaviour weights; they are never compared.
  ///
  /// - Parameters:
  ///   - samples: with rewards and the workers' log-probs, whole groups adjacent.
  ///   - version: policy version of `model`.
  ///   - miniBatch: trajectories of an optimiser step.
  /// - Throws: `TrainingError`, `ObjectiveError` or `CreditError`; the state is then unchanged by the mini-batch that failed.
  package func run(
    _ samples: [CollectedTrajectory], state: any TrainableState, model: inout PreparedModel, version: Int,
    miniBatch: Int
  ) throws -> UpdateOutcome {
    var outcome = UpdateOutcome()
    let recorded = try recordedLogProbs(samples)
    // Under the weights that sampled, while the learner still has them.
    var computed = try startLogProbs(samples, model: model, version: version)
    let plan = StepPlan(method: method, reference: reference, tokenBudget: tokenBudget, team: team)
    let batches = try plan.optimizerSteps(
      samples, estimator: &method.advantage, recorded: recorded, start: computed, step: version, miniBatch: miniBatch,
      outcome: &outcome)
    let relied = samples.map { audit.source(of: $0, version: version) == .worker }
    let free = Set((batches.first ?? []).map(\.index).filter { samples[$0].trajectory.policyVersion == version })
    let later = batches.dropFirst().flatMap { $0.map(\.index) }
    func compare(_ index: Int, _ scores: [Float]) {
      // Other weights, not another arithmetic.
      if samples[index].trajectory.policyVersion != version { return }
      audit.compare(
        samples[index], recorded: recorded[index], computed: scores, relied: relied[index], version: version,
        summary: &outcome.audit)
    }
    func scoreBeforeUpdate(_ more: [Int], _ model: PreparedModel) throws {
      let needed =
        more
        + later.filter {
          let source = audit.source(of: samples[$0], version: version)
          return source == .learner || source == .behaviour && behaviourCap != nil
        }
      var indices: [Int] = []
      for index in needed where computed[index] == nil && !indices.contains(index) { indices.append(index) }
      if indices.isEmpty { return }
      let scores = try scoreTrajectories(
        indices.map { samples[$0].trajectory }, model: model, tokenBudget: tokenBudget, team: team)
      for (index, values) in zip(indices, scores) {
        computed[index] = values.flatMap { $0 }
        compare(index, computed[index]!)
      }
    }
    try scoreBeforeUpdate(audit.choose(samples, covered: free, version: version), model)
    // A worker caught just now has more to be computed.
    try scoreBeforeUpdate([], model)

    gradient.helped = GradientTotals()
    var norms = 0.0
    for (number, batch) in batches.enumerated() {
      let weighted = batch.map { item in
        let source = audit.source(of: samples[item.index], version: version)
        let old: [Float]? =
          switch source {
          case .behaviour:
            behaviourCap == nil ? recorded[item.index] : number == 0 ? nil : computed[item.index]
          case .worker: number == 0 ? nil : recorded[item.index]
          case .learner: number == 0 ? nil : computed[item.index]
          }
        return WeightedTrajectory(
          trajectory: samples[item.index].trajectory.keeping(loss.objective.needs), advantages: item.credit.advantages,
          weight: item.weight,
          stepWeights: item.stepWeights, oldLogProbs: old,
          importanceCap: source == .behaviour
            ? slotBehaviourCap : old == nil || source == .learner ? importanceCap : nil,
          isOlder: source == .behaviour)
      }
      let leaves = leaves(of: microBatches(weighted.map(\.trajectory), tokenBudget: tokenBudget), weighted)
      let weights = StepGradient.Weights(
        state: state, model: model, version: version, isIntermediate: number > 0, excluded: audit.caught,
        samplers: leaves.map { leaf in
          Set(leaf.joined().compactMap { samples[batch[$0].index].party }.map { Party(described: $0) })
            .filter(\.hasKey)
        })
      let results: [LeafResult]
      if loss.scope == .batch {
        // In the first mini-batch the log-probs of a worker that is relied on are those of this very model.
        let known = batch.map { number == 0 && relied[$0.index] ? recorded[$0.index] : nil }
        let whole = BatchObjectiveGradient(
          gradient: gradient, loss: loss, tokenBudget: tokenBudget, seed: method.seed,
          equalityHolds: audit.equalityHolds)
        let run = try whole.run(weighted, leaves, known: known, weights)
        results = run.results
        outcome.sums.merge(run.sums)
      } else {
        results = try gradient.run(
          leaves.map { leaf in GradientLeaf(leaf.map { pass in pass.map { weighted[$0] } }) }, weights)
      }
      outcome.gradientWait += gradient.waitSeconds
      outcome.leafRows.append(gradient.leafRows)
      let isFirst = number == 0
      var doubtful: [(index: Int, scores: [Float], computer: GradientOrigin)] = []
      for (position, (leaf, result)) in zip(leaves, results).enumerated() {
        outcome.sums.merge(result.sums)
        guard isFirst else { continue }
        for (offset, scores) in zip(leaf.joined(), result.logProbs) where free.contains(batch[offset].index) {
          let index = batch[offset].index
          if let computer = gradient.computers[position], relied[index], !hasSameBits(recorded[index], scores) {
            doubtful.append((index, scores, computer))
          } else {
            compare(index, scores)
          }
        }
      }
      if isFirst {
        // The worker that sampled, or the one that computed the gradient: only the learner's own log-probs tell.
        try scoreBeforeUpdate(doubtful.map(\.index), model)
        for (index, scores, computer) in doubtful where !hasSameBits(computed[index] ?? [], scores) {
          audit.catchComputer(computer, of: samples[index], version: version)
        }
        try scoreBeforeUpdate([], model)
      }
      outcome.learningRate = options.optimizer(at: state.step).learningRate
      let (newWeights, norm) = try state.apply(options, team: team)
      norms += norm.total
      model = PreparedModel(
        newWeights, backend: model.backend, trainable: true, positions: model.rotary.positions, team: team,
        sharing: model, keepsHead: state.keepsHead)
    }
    outcome.gradients = gradient.helped
    outcome.gradientNorm = batches.isEmpty ? 0 : norms / Double(batches.count)
    let recomputed = samples.count { audit.source(of: $0, version: version) == .learner }
    audit.report(outcome.audit, step: version + 1)
    outcome.audit.recomputed = Double(recomputed) / Double(max(1, samples.count))
    return outcome
  }

  /// What the advantage estimator remembers over the steps; nil: nothing.
  package func advantageState() throws -> Data? { try method.advantage.encodedState().map { Data($0) } }

  /// Continues from a checkpoint's.
  package func restore(advantageState: Data?) throws {
    guard let advantageState else { return }
    try method.advantage.restore(state: Array(advantageState))
  }

  /// The learner's log-probs at the start of the step of those trajectories that a correction compares: all whose worker's are not
  /// taken for the learner's.
  private func startLogProbs(
    _ samples: [CollectedTrajectory], model: PreparedModel, version: Int
  ) throws -> [Int: [Float]] {
    guard method.correction != nil else { return [:] }
    let indices = samples.indices.filter { audit.source(of: samples[$0], version: version) != .worker }
    if indices.isEmpty { return [:] }
    let scores = try scoreTrajectories(
      indices.map { samples[$0].trajectory }, model: model, tokenBudget: tokenBudget, team: team)
    return Dictionary(uniqueKeysWithValues: zip(indices, scores.map { $0.flatMap { $0 } }))
  }

  /// The passes of each leaf of the sum. A group that lies in several passes stays in one leaf where the objective sees groups.
  private func leaves(of passes: [[Int]], _ items: [WeightedTrajectory]) -> [[[Int]]] {
    guard sumsLeaves else { return [passes] }
    guard loss.scope == .group else { return passes.map { [$0] } }
    var leaves: [[[Int]]] = []
    for pass in passes {
      let first = pass.first.map { items[$0].trajectory.groupID }
      let last = leaves.last?.last?.last.map { items[$0].trajectory.groupID }
      if last != nil && first == last { leaves[leaves.count - 1].append(pass) } else { leaves.append([pass]) }
    }
    return leaves
  }

  private func recordedLogProbs(_ samples: [CollectedTrajectory]) throws -> [[Float]] {
    try samples.map { sample in
      guard let logProbs = sample.trajectory.recordedLogProbs else {
        throw TrainingError(
          "trajectory \(sample.trajectory.promptID) came without the log-probs of worker \(sample.workerName)")
      }
      return logProbs
    }
  }
}
