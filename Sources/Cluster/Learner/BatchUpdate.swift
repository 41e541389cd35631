import Foundation
import Kernels
import PolicyOptimization
import SoftThinking
import Training
import Transformer

/// One learner step on collected trajectories: advantages, mini-batches, gradients, AdamW.
final class BatchUpdate {
  /// What a step did, for the metrics.
  struct Outcome {
    var statistics = ObjectiveStatistics()
    /// Mean over the optimiser steps, before clipping.
    var gradientNorm = 0.0
    var learningRate = 0.0
    /// Largest |p_learner - p_worker| over the scored steps, at equal versions; nil when no version was equal.
    var probabilityDifference: Double?
    /// Groups whose rewards are all equal: no gradient.
    var groupsWithoutSignal = 0
    var scoredSteps = 0
  }

  private let objective: ObjectiveOptions
  private let options: UpdateOptions
  private let tokenBudget: Int
  private let team: ThreadTeam
  private let gradient: PolicyGradient
  private let reference: PreparedModel?

  init(
    objective: ObjectiveOptions, options: UpdateOptions, tokenBudget: Int, reference: PreparedModel?, team: ThreadTeam
  ) {
    self.objective = objective
    self.options = options
    self.tokenBudget = tokenBudget
    self.reference = reference
    self.team = team
    gradient = PolicyGradient(team: team)
  }

  /// Runs the step's optimiser updates; `model` becomes the new policy.
  ///
  /// Trajectories without an advantage have no gradient and are skipped, unless a KL term acts on them; the weights of
  /// the loss count them all the same.
  ///
  /// - Parameters:
  ///   - trajectories: with rewards and the worker's log-probs, whole groups adjacent.
  ///   - version: policy version of `model`.
  ///   - miniBatch: trajectories of an optimiser step.
  /// - Throws: `TrainingError` or `OptimizationError`; the state is then unchanged by the mini-batch that failed.
  func run(
    _ trajectories: [Trajectory], state: LearnerState, model: inout PreparedModel, version: Int, miniBatch: Int
  ) throws -> Outcome {
    var outcome = Outcome()
    let rewards = trajectories.map { $0.reward ?? 0 }
    let groups = trajectories.map(\.groupID)
    let advantages = try objective.advantage.advantages(rewards: rewards, groupIDs: groups)
    outcome.groupsWithoutSignal = Set(groups).count - Set(zip(groups, advantages).filter { $0.1 != 0 }.map(\.0)).count
    var norms = 0.0
    var updates = 0
    for start in stride(from: 0, to: trajectories.count, by: miniBatch) {
      let range = start..<min(trajectories.count, start + miniBatch)
      let weights = try objective.lossAggregation.weights(tokenCounts: trajectories[range].map(\.scoredCount))
      var batch: [WeightedTrajectory] = []
      for (offset, index) in range.enumerated() {
        outcome.scoredSteps += trajectories[index].scoredCount
        if advantages[index] == 0 && objective.klCoefficient == 0 { continue }
        guard let old = trajectories[index].recordedLogProbs else {
          throw TrainingError("trajectory \(trajectories[index].promptID) came without the worker's log-probs")
        }
        batch.append(
          WeightedTrajectory(
            trajectory: trajectories[index], advantage: advantages[index], weight: weights[offset], oldLogProbs: old))
      }
      if batch.isEmpty { continue }
      state.zeroGradient(team: team)
      for indices in microBatches(batch.map(\.trajectory), tokenBudget: tokenBudget) {
        let (statistics, logProbs) = try gradient.accumulate(
          indices.map { batch[$0] }, model: model, reference: reference, options: objective,
          gradient: state.gradient.base)
        outcome.statistics.merge(statistics)
        if updates == 0 {
          for (index, scores) in zip(indices, logProbs) where batch[index].trajectory.policyVersion == version {
            for (new, old) in zip(scores, batch[index].oldLogProbs) {
              let difference = abs(exp(Double(new)) - exp(Double(old)))
              outcome.probabilityDifference = max(outcome.probabilityDifference ?? 0, difference)
            }
          }
        }
      }
      outcome.learningRate = options.optimizer(at: state.step).learningRate
      let (newWeights, norm) = try state.apply(options, team: team)
      norms += norm.total
      updates += 1
      model = PreparedModel(
        newWeights, backend: model.backend, trainable: true, positions: model.rotary.positions, team: team,
        sharing: model)
    }
    outcome.gradientNorm = updates > 0 ? norms / Double(updates) : 0
    return outcome
  }
}
