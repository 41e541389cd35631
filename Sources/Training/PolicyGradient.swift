import Kernels
import Objectives
import Trajectories
import Transformer

/// Computes the gradient of a loss over micro-batches; applying it is a `TrainableState`'s business.
public final class PolicyGradient {
  let team: ThreadTeam
  /// Learns where the time of a pass goes, for benchmarks.
  public var stages: StageClock?
  /// Bytes that the activations of a pass may take; a pass that needs more keeps its layers' inputs alone and computes the
  /// rest again: the same bits, for about a third more time.
  public var activationMemoryBudget = automaticActivationMemoryBudget
  var workspace: PassWorkspace?
  private var referenceWorkspace: PassWorkspace?

  public init(team: ThreadTeam) { self.team = team }

  /// Adds the gradient of one micro-batch to `gradient`.
  ///
  /// - Parameters:
  ///   - batch: one pass worth of trajectories; equal prompts adjacent. Under an objective of group scope whole groups, of batch
  ///     scope with coefficients.
  ///   - reference: the frozen model of the KL term, when its coefficient is not 0.
  /// - Returns: what was measured and the log-probs of every trajectory under `model`, one per scored slot.
  /// - Throws: `TrainingError` or `ObjectiveError` when a log-prob or ratio is not finite; `gradient` may then hold a
  ///   part of the batch's.
  public func accumulate(
    _ batch: [WeightedTrajectory], model: PreparedModel, reference: PreparedModel?, loss: Loss,
    gradient: WeightGradientSink
  ) throws -> (sums: NamedSums, logProbs: [[Float]]) {
    let space = memory(for: model, keptIn: &workspace)
    let plan = ScoringPlan(batch.map(\.trajectory))
    stages?.resume()
    var referencePass: TrajectoryPass?
    if let reference, loss.klCoefficient != 0 {
      let space = memory(for: reference, keptIn: &referenceWorkspace)
      referencePass = try TrajectoryPass(plan, model: reference, workspace: space, tape: nil, team: team)
    }
    let passLoss = try PassLoss(batch, plan: plan, reference: referencePass?.logProbs, loss: loss)
    let tape = space.tape(rows: plan.batch.rowCount, budget: activationMemoryBudget)
    let dHidden_RC = hiddenGradients(of: plan, model: model, in: space)
    let discreteGradient = TrajectoryPass.DiscreteGradient(
      upstream: passLoss.upstream(slot:logProb:), dHidden_RC: dHidden_RC, gradient: gradient)
    let pass = try TrajectoryPass(
      plan, model: model, workspace: space, tape: tape, team: team,
      discreteGradient: passLoss.isFused ? discreteGradient : nil, stages: stages)
    var sums = NamedSums()
    if !passLoss.isFused {
      sums = try passLoss.settle(pass.logProbs)
      try pass.differentiateDiscrete(discreteGradient)
    }

    var upstream = [Float](repeating: 0, count: pass.logProbs.count)
    for slot in 0..<plan.softSlotCount {
      upstream[slot] = passLoss.upstream(slot: slot, logProb: pass.logProbs[slot])
    }
    sums.merge(try passLoss.sums(pass.logProbs))
    let exactKL = loss.klEstimator == .exact ? referencePass : nil
    if let referencePass {
      sums.add(
        total: LossSum.referenceKL,
        passLoss.divergence(pass.logProbs) + (exactKL == nil ? 0 : exactDivergence(pass, referencePass, batch)))
    }
    backward(
      pass, tape: tape, workspace: space, upstream: upstream, dHidden_RC: dHidden_RC, inputGradient: false,
      gradient: gradient
    ) { row, record, score, gradient in
      guard let exactKL else { return }
      let weight = Float(loss.klCoefficient * batch[plan.soft[row].trajectory].weight)
      pass.softLogits[row].withUnsafeBufferPointer { theta in
        exactKL.softLogits[row].withUnsafeBufferPointer {
          _ = score.divergence(
            record, logits: theta, referenceLogits: $0, upstream: weight, addingGradientTo: gradient)
        }
      }
    }
    return (sums, passLoss.logProbs(pass.logProbs))
  }

  /// Adds the gradient of the weighted negative log-likelihood of the discrete tokens (supervised training). With
  /// `inputGradient`, the embeddings also receive what flows into the inputs.
  ///
  /// - Returns: the loss, and the number of scored tokens.
  public func accumulateSupervised(
    _ batch: [Trajectory], weight: Double, model: PreparedModel, inputGradient: Bool,
    gradient: WeightGradientSink
  ) throws -> (loss: Double, tokens: Int) {
    let space = memory(for: model, keptIn: &workspace)
    let plan = ScoringPlan(batch)
    let tape = space.tape(rows: plan.batch.rowCount, budget: activationMemoryBudget)
    let dHidden_RC = hiddenGradients(of: plan, model: model, in: space)
    let pass = try TrajectoryPass(
      plan, model: model, workspace: space, tape: tape, team: team,
      discreteGradient: TrajectoryPass.DiscreteGradient(
        upstream: { _, _ in Float(-weight) }, dHidden_RC: dHidden_RC, gradient: gradient))
    let upstream = [Float](repeating: Float(-weight), count: pass.logProbs.count)
    backward(
      pass, tape: tape, workspace: space, upstream: upstream, dHidden_RC: dHidden_RC, inputGradient: inputGradient,
      gradient: gradient)
    return (pass.logProbs.reduce(0.0) { $0 - weight * Double($1) }, pass.logProbs.count)
  }

  /// Memory of d(loss)/d(hidden) of the scored rows, zero.
  private func hiddenGradients(
    of plan: ScoringPlan, model: PreparedModel, in space: PassWorkspace
  ) -> UnsafeMutablePointer<Float> {
    let count = (plan.soft.count + plan.discrete.count) * model.configuration.hiddenSize
    let base = space.floats(.hiddenGradients, count: count)
    zero(base, count: count)
    return base
  }

  /// The memory of earlier passes, unless they were of a model of another shape.
  func memory(for model: PreparedModel, keptIn store: inout PassWorkspace?) -> PassWorkspace {
    if let store, store.fits(model) { return store }
    let made = PassWorkspace(model)
    store = made
    return made
  }

  /// The closed form of the KL term on the soft rows, weighted, without its coefficient.
  private func exactDivergence(
    _ pass: TrajectoryPass, _ reference: TrajectoryPass, _ batch: [WeightedTrajectory]
  ) -> Double {
    var total = 0.0
    for (row, step) in pass.plan.soft.enumerated() {
      let value = pass.plan.withRecord(step, pass.model) { record, score in
        pass.softLogits[row].withUnsafeBufferPointer { theta in
          reference.softLogits[row].withUnsafeBufferPointer {
            score.divergence(record, logits: theta, referenceLogits: $0, upstream: 1, addingGradientTo: nil)
          }
        }
      }
      total += batch[step.trajectory].weight * Double(value)
    }
    return total
  }
}

extension PolicyGradient {
  /// `accumulate` of every weight's gradient, in the order of `ParameterLayout`.
  public func accumulate(
    _ batch: [WeightedTrajectory], model: PreparedModel, reference: PreparedModel?, loss: Loss,
    gradient: UnsafeMutablePointer<Float>
  ) throws -> (sums: NamedSums, logProbs: [[Float]]) {
    try accumulate(batch, model: model, reference: reference, loss: loss, gradient: .full(gradient))
  }

  /// `accumulateSupervised` of every weight's gradient, in the order of `ParameterLayout`.
  public func accumulateSupervised(
    _ batch: [Trajectory], weight: Double, model: PreparedModel, inputGradient: Bool,
    gradient: UnsafeMutablePointer<Float>
  ) throws -> (loss: Double, tokens: Int) {
    try accumulateSupervised(
      batch, weight: weight, model: model, inputGradient: inputGradient, gradient: .full(gradient))
  }
}
