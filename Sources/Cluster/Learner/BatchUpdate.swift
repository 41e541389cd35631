import Foundation
import Kernels
import PolicyOptimization
import SoftThinking
import Training
import Transformer
import Wire

/// One learner step on collected trajectories: advantages, mini-batches, gradients, AdamW.
final class BatchUpdate {
  /// What a step did, for the metrics.
  struct Outcome {
    var statistics = ObjectiveStatistics()
    /// Mean over the optimiser steps, before clipping.
    var gradientNorm = 0.0
    var learningRate = 0.0
    /// How the workers' log-probs compare with the learner's.
    var audit = AuditSummary()
    /// Groups whose rewards are all equal: no gradient.
    var groupsWithoutSignal = 0
    /// Seconds in which all leaves of a gradient were out and the learner had nothing to compute.
    var gradientWait = 0.0
    /// Rows of the leaves of each mini-batch's gradient.
    var leafRows: [[Int]] = []
    /// What workers did of it.
    var gradients = GradientExchange.Totals()
  }

  private let objective: ObjectiveOptions
  private let options: UpdateOptions
  private let tokenBudget: Int
  private let team: ThreadTeam
  let gradient: StepGradient
  /// Whether each micro-batch is a leaf of the sum, or all are one.
  private let sumsLeaves: Bool
  private let audit: LogProbAudit
  private let importanceCap: Float?
  /// Under decoupled clipping.
  private var behaviourCap: Float? {
    if case .decoupled(let cap) = objective.offPolicy { cap } else { nil }
  }

  /// - Parameters:
  ///   - audit: decides whose log-probs are relied on.
  ///   - importanceCap: cap of the truncated importance weights where the learner's own log-probs are the old ones; nil: no
  ///     correction.
  ///   - sumsLeaves: sums the micro-batches' gradients along the fixed tree (DESIGN 2, gradient leases), so that the update's
  ///     bits do not depend on who computed which; false: one after the other in one buffer, which needs no further memory.
  ///   - gradientType: what the gradients of the sum are rounded to.
  ///   - help: workers that compute leaves; nil: the learner is alone.
  init(
    objective: ObjectiveOptions, options: UpdateOptions, tokenBudget: Int, reference: PreparedModel?,
    audit: LogProbAudit, importanceCap: Float?, activationMemoryBudget: Int = automaticActivationMemoryBudget,
    sumsLeaves: Bool = true, gradientType: GradientType = .float32, help: StepGradient.Help? = nil, team: ThreadTeam
  ) {
    self.objective = objective
    self.options = options
    self.tokenBudget = tokenBudget
    self.audit = audit
    self.importanceCap = importanceCap
    self.sumsLeaves = sumsLeaves
    self.team = team
    let passes = PolicyGradient(team: team)
    passes.activationMemoryBudget = activationMemoryBudget
    gradient = StepGradient(
      passes: passes, objective: objective, reference: reference, type: gradientType, help: help,
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
  /// - Throws: `TrainingError` or `OptimizationError`; the state is then unchanged by the mini-batch that failed.
  func run(
    _ samples: [CollectedTrajectory], state: any TrainableState, model: inout PreparedModel, version: Int,
    miniBatch: Int
  ) throws -> Outcome {
    var outcome = Outcome()
    let batches = try plan(samples.map(\.trajectory), miniBatch: miniBatch, outcome: &outcome)
    let recorded = try recordedLogProbs(samples)
    let relied = samples.map { audit.source(of: $0, version: version) == .worker }
    let free = Set((batches.first ?? []).map(\.index).filter { samples[$0].trajectory.policyVersion == version })
    let later = batches.dropFirst().flatMap { $0.map(\.index) }
    // Under the weights that sampled, while the learner still has them.
    var computed: [Int: [Float]] = [:]
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

    gradient.helped = GradientExchange.Totals()
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
          trajectory: samples[item.index].trajectory, advantage: item.advantage, weight: item.weight,
          oldLogProbs: old,
          importanceCap: source == .behaviour
            ? behaviourCap : old == nil || source == .learner ? importanceCap : nil,
          isOlder: source == .behaviour)
      }
      let passes = microBatches(weighted.map(\.trajectory), tokenBudget: tokenBudget)
      let leaves = sumsLeaves ? passes.map { [$0] } : [passes]
      let results = try gradient.run(
        leaves.map { leaf in GradientLeaf(leaf.map { pass in pass.map { weighted[$0] } }) }, state: state, model: model,
        version: version, isIntermediate: number > 0, excluded: audit.caught)
      outcome.gradientWait += gradient.waitSeconds
      outcome.leafRows.append(gradient.leafRows)
      let isFirst = number == 0
      var doubtful: [(index: Int, scores: [Float], computer: GradientOrigin)] = []
      for (position, (leaf, result)) in zip(leaves, results).enumerated() {
        outcome.statistics.merge(result.statistics)
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

  /// One trajectory's share of an optimiser step.
  private struct Item {
    var index: Int
    var advantage: Float
    var weight: Double
  }

  /// The optimiser steps that have a gradient.
  private func plan(_ trajectories: [Trajectory], miniBatch: Int, outcome: inout Outcome) throws -> [[Item]] {
    let rewards = trajectories.map { $0.reward ?? 0 }
    let groups = trajectories.map(\.groupID)
    let advantages = try objective.advantage.advantages(rewards: rewards, groupIDs: groups)
    outcome.groupsWithoutSignal = Set(groups).count - Set(zip(groups, advantages).filter { $0.1 != 0 }.map(\.0)).count
    return try stride(from: 0, to: trajectories.count, by: miniBatch).map { start in
      let range = start..<min(trajectories.count, start + miniBatch)
      let weights = try objective.lossAggregation.weights(tokenCounts: trajectories[range].map(\.scoredCount))
      return zip(range, weights).compactMap { index, weight in
        advantages[index] == 0 && objective.klCoefficient == 0
          ? nil : Item(index: index, advantage: advantages[index], weight: weight)
      }
    }.filter { !$0.isEmpty }
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
