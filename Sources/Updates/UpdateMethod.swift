import Credit
import Equality
import Gradients
import Objectives

/// How a step's trajectories become a loss.
package struct UpdateMethod {
  var loss: Loss
  var advantage: any AdvantageEstimator
  var aggregation = LossAggregation.tokenMean
  /// Scored steps that a trajectory may have.
  var maximumLength: Int?
  var offPolicy = OffPolicyCorrection.behaviour
  /// Forms factors from the log-probs of the step's beginning, before any gradient; nil: the passes' own caps are all.
  var correction: (any Correction)?
  var correctionCaps = CorrectionCaps()
  /// Which trajectories and steps are learned from.
  var selection: any Selection = Everything()
  /// Steps of the run, which schedules of a selection refer to.
  var totalSteps = 1
  /// Whether trajectories that their budget ended are left out of the statistics and the loss.
  var excludesOverlong = false
  /// The divergence from the reference as a penalty of the reward; nil: none.
  var rewardPenalty: RewardPenalty?
  /// The weights of the run's rewards, for estimators that see each reward alone.
  var rewardWeights: [Double] = []
  /// Of the run: random choices of an objective follow from it and the optimiser step.
  var seed: UInt64 = 0

  /// coefficient times the estimate, summed over the slots, is taken off a trajectory's reward.
  struct RewardPenalty {
    var coefficient: Double
    var estimator: KLEstimator
  }
}

/// What an update did, for the metrics.
package struct UpdateOutcome {
  /// Of each trajectory.
  package var credits: [Credit] = []
  /// What was measured of the loss.
  package var sums = NamedSums()
  /// Mean over the optimiser steps, before clipping.
  package var gradientNorm = 0.0
  package var learningRate = 0.0
  /// How the workers' log-probs compare with the learner's.
  package var audit = AuditSummary()
  /// Groups without an advantage: no gradient.
  package var groupsWithoutSignal = 0
  /// Seconds in which all leaves of a gradient were out and the learner had nothing to compute.
  package var gradientWait = 0.0
  /// Rows of the leaves of each mini-batch's gradient.
  package var leafRows: [[Int]] = []
  /// What workers did of it.
  package var gradients = GradientTotals()

  package init() {}
}
