import Credit
import Objectives
import Parameters

/// How trajectories become a loss: the keys of the `learner` section that name the parts of the method (docs/methods.md).
public struct MethodSettings: Sendable, Equatable {
  /// Where the divergence from the starting weights stands.
  public enum KLPlacement: String, Sendable, CaseIterable {
    case loss, reward
  }

  /// What is minimised: the name of an objective.
  public var objective = "clipped"
  /// How a group's rewards become advantages: the name of an estimator.
  public var advantage = "grpo"
  /// Parameters of the objective, the estimator, the correction and the selection.
  public var parameters = ParameterSettings()
  /// How the losses of scored steps become one number.
  public var lossAggregation = LossAggregation.tokenMean
  /// Weight beta of the KL term against the starting weights; 0: no reference model is held.
  public var klCoefficient = 0.0
  public var klEstimator = KLEstimator.k3
  /// In the loss, or as a penalty of the reward, from which the advantages then follow.
  public var klPlacement = KLPlacement.loss
  /// What is done about log-probs that are not the learner's: the name of a correction.
  public var correction = "truncated_importance"
  /// Which trajectories and steps are learned from: the name of a selection.
  public var selection = "all"
  /// Leave trajectories that their budget ended out of their group's statistics and of the loss.
  public var excludeOverlong = false
  /// Cap of the importance weights that correct for other arithmetic at equal weights; null: no correction.
  public var importanceCap: Double? = 2.0
  /// Clip the ratio of trajectories of older versions around the learner's policy at the start of the step, instead of the
  /// one that sampled, and weight them by how much more probable it has made their steps.
  public var decoupledClipping = false
  /// Cap of those weights.
  public var behaviourWeightCap = 5.0

  public init() {}

  public var correctionCaps: CorrectionCaps {
    CorrectionCaps(importance: importanceCap, behaviour: behaviourWeightCap)
  }

  /// The objective with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the objective refuses.
  public func describedObjective() throws(ParameterError) -> PartDescription {
    try described(objective, in: objectives)
  }

  /// The advantage estimator with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the estimator refuses.
  public func describedAdvantage() throws(ParameterError) -> PartDescription {
    try described(advantage, in: advantageEstimators)
  }

  /// The correction with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the correction refuses.
  public func describedCorrection() throws(ParameterError) -> PartDescription {
    try described(correction, in: corrections)
  }

  /// The selection with all of its parameters.
  /// - Throws: `ParameterError` naming the key whose value the selection refuses.
  public func describedSelection() throws(ParameterError) -> PartDescription {
    try described(selection, in: selections)
  }

  private func described<Part>(_ name: String, in registry: PartRegistry<Part>) throws(ParameterError)
    -> PartDescription
  {
    try registry.describe(name, parameters.given.filter { registry.knows(parameter: $0.key) }, prefix: "learner.")
  }

  /// Keys that the file gives and that nothing reads, because other parts are chosen.
  public var unusedParameters: [String] {
    func names<Part>(_ name: String, _ registry: PartRegistry<Part>) -> [String] {
      ((try? registry.entry(name))?.parameters ?? []).map(\.name)
    }
    let used = Set(
      names(objective, objectives) + names(advantage, advantageEstimators) + names(correction, corrections)
        + names(selection, selections))
    return parameters.given.keys.filter { !used.contains($0) }.sorted().map { "learner.\($0)" }
  }
}

extension MethodSettings {
  /// The parts can be made, and what they need is there.
  func check(_ rules: inout Rules, groupSize: Int, miniBatchSize: Int) {
    rules.attempt { rules in
      let least = type(of: try advantageEstimators.make(describedAdvantage())).minimumGroupSize
      rules.require(
        groupSize >= least,
        "rollout.group_size: must be at least \(least) when learner.advantage is \(advantage), got \(groupSize)")
    }
    rules.attempt { rules in
      let scope = type(of: try objectives.make(describedObjective())).scope
      rules.require(
        scope < .group || miniBatchSize.isMultiple(of: groupSize),
        "learner.mini_batch_size: must be a multiple of group_size = \(groupSize) when learner.objective is \(objective), which sees whole groups, got \(miniBatchSize)"
      )
    }
    rules.attempt(section: "learner") { _ in _ = try corrections.make(describedCorrection()) }
    rules.attempt { _ in _ = try selections.make(describedSelection()) }
    rules.require(
      klPlacement == .loss || klEstimator != .exact,
      "learner.kl_estimator: exact needs the logits of both policies, which a penalty in the reward does not have; choose k1, k2 or k3 with kl_placement: reward"
    )
  }
}

extension MethodSettings: ConfigurationSection {
  static var fields: [Field<Self>] {
    [.part("objective", \.objective, of: objectives)]
      + Field.parameters(of: objectives, \.parameters, chosen: \.objective)
      + [.part("advantage", \.advantage, of: advantageEstimators)]
      + Field.parameters(of: advantageEstimators, \.parameters, chosen: \.advantage)
      + [.part("correction", \.correction, of: corrections)]
      + Field.parameters(of: corrections, \.parameters, chosen: \.correction)
      + [
        .optionalNumber("importance_cap", \.importanceCap, .atLeast(1)),
        .flag("decoupled_clipping", \.decoupledClipping),
        .number("behaviour_weight_cap", \.behaviourWeightCap, .atLeast(1)),
        .part("selection", \.selection, of: selections),
      ]
      + Field.parameters(of: selections, \.parameters, chosen: \.selection)
      + [
        .flag("exclude_overlong", \.excludeOverlong),
        .choice("loss_aggregation", \.lossAggregation),
        .number("kl_coefficient", \.klCoefficient, .atLeast(0)),
        .choice("kl_estimator", \.klEstimator),
        .choice("kl_placement", \.klPlacement),
      ]
  }
}
