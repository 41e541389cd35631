import Kernels
import PolicyOptimization
import SoftThinking
import Transformer

/// A trajectory with what its share of the loss depends on.
public struct WeightedTrajectory: Sendable {
  public var trajectory: Trajectory
  public var advantage: Float
  /// Weight of each scored step in the loss: 1 / (global token count) under token mean.
  public var weight: Double
  /// Log-probs under the policy of the ratio's denominator, one per slot in order; nil: those that this very pass
  /// computes, for the first update after the policy sampled.
  public var oldLogProbs: [Float]?
  /// Cap of the truncated importance weights, exp(old log-prob - recorded one), that multiply the steps' losses; nil: none.
  public var importanceCap: Float?
  /// The weights correct for the age of the policy that sampled (decoupled clipping), not for another arithmetic.
  public var isOlder: Bool

  public init(
    trajectory: Trajectory, advantage: Float, weight: Double, oldLogProbs: [Float]?, importanceCap: Float? = nil,
    isOlder: Bool = false
  ) {
    self.trajectory = trajectory
    self.advantage = advantage
    self.weight = weight
    self.oldLogProbs = oldLogProbs
    self.importanceCap = importanceCap
    self.isOlder = isOlder
  }

  /// The factors of the steps' losses; nil without a correction.
  ///
  /// - Throws: `TrainingError` when the trajectory lacks the log-probs recorded at sampling.
  func corrections(old: [Float]) throws -> [Float]? {
    guard let importanceCap else { return nil }
    guard let recorded = trajectory.recordedLogProbs, recorded.count == old.count else {
      throw TrainingError(
        "trajectory \(trajectory.promptID) sample \(trajectory.sampleIndex): has no log_probs, which the importance "
          + "correction needs")
    }
    return zip(old, recorded).map {
      truncatedImportanceWeight(learnerOldLogProb: $0, workerLogProb: $1, cap: importanceCap)
    }
  }
}

/// Computes the gradient of the clipped objective over micro-batches; applying it is a `TrainableState`'s business.
public final class PolicyGradient {
  let team: ThreadTeam
  /// Learns where the time of a pass goes, for benchmarks.
  public var stages: StageClock?
  /// Bytes that the activations of a pass may take; a pass that needs more keeps its layers' inputs alone and computes the
  /// rest again: the same bits, for about a third more time.
  public var activationMemoryBudget = automaticActivationMemoryBudget
  private var workspace: PassWorkspace?
  private var referenceWorkspace: PassWorkspace?

  public init(team: ThreadTeam) { self.team = team }

  /// Adds the gradient of one micro-batch to `gradient`.
  ///
  /// - Parameters:
  ///   - batch: one pass worth of trajectories; equal prompts adjacent.
  ///   - reference: the frozen model of the KL term, when its coefficient is not 0.
  /// - Returns: statistics of the batch and the log-probs of every trajectory under `model`, one per slot.
  /// - Throws: `TrainingError` or `OptimizationError` when a log-prob or ratio is not finite; `gradient` may then hold a
  ///   part of the batch's.
  public func accumulate(
    _ batch: [WeightedTrajectory], model: PreparedModel, reference: PreparedModel?, options: ObjectiveOptions,
    gradient: WeightGradientSink
  ) throws -> (statistics: ObjectiveStatistics, logProbs: [[Float]]) {
    let space = memory(for: model, keptIn: &workspace)
    let plan = ScoringPlan(batch.map(\.trajectory))
    // The objective works on a trajectory's steps in order; rows are grouped by kind.
    let order = stepOrder(plan)
    for (item, rows) in zip(batch, order) {
      guard let old = item.oldLogProbs, old.count != rows.count else { continue }
      throw TrainingError(
        "trajectory \(item.trajectory.promptID) sample \(item.trajectory.sampleIndex): \(old.count) old "
          + "log-probs for \(rows.count) slots")
    }
    stages?.resume()
    var referencePass: TrajectoryPass?
    if let reference, options.klCoefficient != 0 {
      let space = memory(for: reference, keptIn: &referenceWorkspace)
      referencePass = try TrajectoryPass(plan, model: reference, workspace: space, tape: nil, team: team)
    }
    let terms = StepTerms(batch, order: order, plan: plan, reference: referencePass?.logProbs, options: options)
    let tape = space.tape(rows: plan.batch.rowCount, budget: activationMemoryBudget)
    let dHidden_RC = hiddenGradients(of: plan, model: model, in: space)
    let pass = try TrajectoryPass(
      plan, model: model, workspace: space, tape: tape, team: team,
      discreteGradient: TrajectoryPass.DiscreteGradient(
        upstream: terms.gradient, dHidden_RC: dHidden_RC, gradient: gradient), stages: stages)

    var statistics = ObjectiveStatistics()
    var upstream = [Float](repeating: 0, count: pass.logProbs.count)
    var logProbsByTrajectory: [[Float]] = []
    for (index, item) in batch.enumerated() {
      let rows = order[index]
      let logProbs = rows.map { pass.logProbs[$0] }
      let old = item.oldLogProbs ?? logProbs
      let corrections = try item.corrections(old: old)
      var unused = [Float](repeating: 0, count: logProbs.count)
      var term = try options.clip.accumulate(
        logProbs: logProbs, oldLogProbs: old, advantage: item.advantage, weight: item.weight, corrections: corrections,
        gradient: &unused)
      if let corrections, let cap = item.importanceCap {
        if item.isOlder {
          term.add(behaviourWeights: corrections, cap: cap)
        } else {
          term.add(importanceWeights: corrections, cap: cap)
        }
      }
      if let referencePass {
        term.klLoss += referenceTerm(rows, pass, referencePass, weight: item.weight, options: options)
      }
      statistics.merge(term)
      for row in rows where row < plan.softSlotCount {
        upstream[row] = terms.gradient(row: row, logProb: pass.logProbs[row])
      }
      logProbsByTrajectory.append(logProbs)
    }
    let exactKL = options.klEstimator == .exact ? referencePass : nil
    backward(
      pass, tape: tape, workspace: space, upstream: upstream, dHidden_RC: dHidden_RC, inputGradient: false,
      gradient: gradient
    ) { row, record, score, gradient in
      guard let exactKL else { return }
      let weight = Float(options.klCoefficient * batch[plan.soft[row].trajectory].weight)
      pass.softLogits[row].withUnsafeBufferPointer { theta in
        exactKL.softLogits[row].withUnsafeBufferPointer {
          _ = score.divergence(
            record, logits: theta, referenceLogits: $0, upstream: weight, addingGradientTo: gradient)
        }
      }
    }
    return (statistics, logProbsByTrajectory)
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
  private func memory(for model: PreparedModel, keptIn store: inout PassWorkspace?) -> PassWorkspace {
    if let store, store.fits(model) { return store }
    let made = PassWorkspace(model)
    store = made
    return made
  }

  /// For every trajectory, the slots of its scored steps in order.
  private func stepOrder(_ plan: ScoringPlan) -> [[Int]] {
    var order = plan.trajectories.map {
      [(segment: Int, step: Int, slot: Int)](repeating: (0, 0, 0), count: $0.slotCount)
    }
    var filled = [Int](repeating: 0, count: plan.trajectories.count)
    for (row, step) in (plan.soft + plan.discrete).enumerated() {
      for slot in plan.slots(ofRow: row) {
        order[step.trajectory][filled[step.trajectory]] = (step.segment, step.step, slot)
        filled[step.trajectory] += 1
      }
    }
    return order.map {
      $0.sorted { ($0.segment, $0.step, $0.slot) < ($1.segment, $1.step, $1.slot) }.map(\.slot)
    }
  }

  /// The KL term's value without its coefficient.
  private func referenceTerm(
    _ rows: [Int], _ pass: TrajectoryPass, _ reference: TrajectoryPass, weight: Double, options: ObjectiveOptions
  ) -> Double {
    let plan = pass.plan
    var total = 0.0
    for row in rows {
      if options.klEstimator == .exact && row < plan.softSlotCount {
        // Once a step: with its first slot.
        let place = plan.row(ofSoftSlot: row)
        guard plan.slotOffsets[place] == row else { continue }
        total +=
          weight
          * Double(
            plan.withRecord(plan.soft[place]) { record, score in
              pass.softLogits[place].withUnsafeBufferPointer { theta in
                reference.softLogits[place].withUnsafeBufferPointer {
                  score.divergence(record, logits: theta, referenceLogits: $0, upstream: 1, addingGradientTo: nil)
                }
              }
            })
      } else {
        let term = ReferenceKL.k3(logProb: pass.logProbs[row], referenceLogProb: reference.logProbs[row])
        total += weight * Double(term.value)
      }
    }
    return total
  }
}
