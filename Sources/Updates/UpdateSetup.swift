import Coordination
import Equality
import FrontEnd
import Gradients
import Kernels
import Loading
import Logging
import RunConfiguration
import Training
import Transformer
import WeightSync

extension BatchUpdate {
  /// The update that a run's configuration describes, with the audit of log-probs and the fleet's help.
  ///
  /// The reference is published on `frontEnd` for those who help.
  ///
  /// - Parameters:
  ///   - model: the policy.
  ///   - reference: the KL term's model; nil: there is no term.
  ///   - rewardWeights: the weights of the run's rewards.
  ///   - positions: of the longest trajectory.
  ///   - caught: told of who sent log-probs or gradients that are not what they should be, and why.
  /// - Throws: for options that contradict each other.
  package convenience init(
    _ run: RunConfiguration, model: PreparedModel, reference: PreparedModel?, rewardWeights: [Double], positions: Int,
    frontEnd: LearnerFrontEnd, team: ThreadTeam, logger: Logger, caught: @escaping (Party, String) -> Void
  ) throws {
    let audit = LogProbAudit.start(
      model, selfTest: run.learner.checks.selfTest, policy: try run.rollout.thinkingPolicy(),
      positions: positions, fraction: run.learner.checks.auditFraction, team: team, logger: logger)
    if run.learner.checks.verification != .off {
      audit.whenCaught = { caught(Party(described: $0), $1) }
    }
    var help = run.learner.batches.help(frontEnd.gradients, audit: audit, logger: logger)
    help?.verification = run.learner.checks.verification == .off ? 0 : run.learner.checks.gradientVerification
    // Where every trajectory is sampled again, its log-probs need no second word.
    help?.separatesSamplers = run.learner.checks.verification == .sampled
    help?.caught = caught
    help?.weights = IntermediateWeights(frontEnd: frontEnd, team: team, logger: logger)
    var method = try run.method()
    // A penalty in the reward is the learner's business: nobody who helps needs the reference.
    if help != nil, method.loss.klCoefficient != 0, let reference {
      let snapshot = reference.weights.referenceSnapshot(team: team)
      help?.reference = snapshot.description.root
      try frontEnd.publish(reference: snapshot)
    }
    method.rewardWeights = rewardWeights
    self.init(
      method: method, options: try run.updateOptions(),
      tokenBudget: run.learner.batches.microBatchTokens, reference: reference, audit: audit,
      importanceCap: try run.importanceCap(),
      activationMemoryBudget: run.activationMemoryBudget,
      sumsLeaves: run.learner.batches.gradientLeases != .off,
      gradientType: GradientType(rawValue: run.learner.batches.gradientDtype.rawValue)!,
      help: help, team: team)
  }
}

extension BatchSettings {
  /// Who helps with gradients; nil: the learner is alone. With a KL term the help lacks the name of its model still.
  fileprivate func help(_ fleet: any GradientFleet, audit: LogProbAudit, logger: Logger) -> StepGradient.Help? {
    switch gradientLeases {
    case .off: return nil
    case .any:
      logger.notice(
        "learner.gradient_leases: any: workers of other arithmetic compute gradients too; the update's bits depend on who was there"
      )
      return StepGradient.Help(fleet: fleet, fingerprint: nil, logger: logger)
    case .auto:
      guard audit.equalityHolds else {
        logger.notice(
          "no gradient is leased: equal bits are not promised here; learner.gradient_leases: any does without")
        return nil
      }
      return StepGradient.Help(fleet: fleet, fingerprint: audit.fingerprint, logger: logger)
    }
  }
}
