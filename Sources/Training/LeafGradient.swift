import Kernels
import Objectives
import Trajectories
import Transformer

/// The trajectories of one leaf of a `GradientTree`: passes that follow each other in one buffer.
public struct GradientLeaf: Sendable {
  /// One pass each; equal prompts adjacent.
  public var microBatches: [[WeightedTrajectory]]

  public init(_ microBatches: [[WeightedTrajectory]]) { self.microBatches = microBatches }

  /// Rows of its passes, a shared prompt counted once a pass: what the work is measured in.
  public var rowCount: Int {
    microBatches.reduce(0) { total, batch in
      var previous: [Int32]?
      return batch.reduce(total) { total, item in
        let trajectory = item.trajectory
        let root = trajectory.prompt == previous ? 0 : trajectory.prompt.count
        previous = trajectory.prompt
        return total + root + max(0, trajectory.completionCount - 1)
      }
    }
  }
}

/// What comes with a leaf's gradient.
public struct LeafResult: Sendable, Equatable {
  /// What was measured of the loss.
  public var sums = NamedSums()
  /// Log-probs under the model that was differentiated: per trajectory, one per scored slot.
  public var logProbs: [[Float]] = []

  public init() {}
}

extension PolicyGradient {
  /// Computes a leaf's gradient: a function of the model's weights, the leaf and the loss alone, the same bits on any
  /// number of threads.
  ///
  /// - Parameters:
  ///   - sink: where the passes add; its memory is that of `buffer`.
  ///   - type: what the gradient is rounded to.
  ///   - buffer: overwritten.
  ///   - passed: called after each pass.
  /// - Throws: as `accumulate`; the buffer then holds nothing of use.
  public func compute(
    _ leaf: GradientLeaf, model: PreparedModel, reference: PreparedModel?, loss: Loss,
    type: GradientType, sink: WeightGradientSink, into buffer: GradientBuffer, passed: () -> Void = {}
  ) throws -> LeafResult {
    stages?.resume()
    // A layer's matrix gets one product a pass: the first one overwrites it.
    var first = sink
    if case .full(let gradient) = sink {
      first = .first(gradient)
      buffer.zero(model.layout.parameters.filter { !$0.isLayerMatrix }.map(\.range), team: team)
    } else {
      buffer.zero([0..<buffer.count], team: team)
    }
    stages?.mark(.optimizer)
    var result = LeafResult()
    var batches = leaf.microBatches
    if loss.scope == .group && batches.count > 1 {
      // Groups that lie in several passes: all are scored before any is differentiated.
      (batches, result.sums) = try formCoefficients(batches, model: model, loss: loss)
    }
    for (pass, batch) in batches.enumerated() {
      let (sums, logProbs) = try accumulate(
        batch, model: model, reference: reference, loss: loss, gradient: pass == 0 ? first : sink)
      result.sums.merge(sums)
      result.logProbs += logProbs
      passed()
    }
    buffer.round(to: type, team: team)
    return result
  }

  /// Scores passes and forms the coefficients of an objective that must see all of them.
  ///
  /// - Throws: as `accumulate`.
  public func formCoefficients(
    _ batches: [[WeightedTrajectory]], model: PreparedModel, loss: Loss, context: ObjectiveContext = ObjectiveContext()
  ) throws -> (batches: [[WeightedTrajectory]], sums: NamedSums) {
    let logProbs = try score(batches.map { $0.map(\.trajectory) }, model: model)
    let formed = try Training.formCoefficients(
      batches.flatMap { $0 }, logProbs: logProbs, slotCounts: batches.joined().map { $0.trajectory.slotCounts },
      loss: loss, context: context)
    var items = formed.items[...]
    return (
      batches.map { batch in
        defer { items = items.dropFirst(batch.count) }
        return Array(items.prefix(batch.count))
      }, formed.sums
    )
  }

  /// Log-probs of the trajectories of passes under a model: per trajectory, one per scored slot.
  ///
  /// - Throws: `TrainingError` when one is not finite.
  public func score(_ passes: [[Trajectory]], model: PreparedModel) throws -> [[Float]] {
    let space = memory(for: model, keptIn: &workspace)
    return try passes.flatMap { trajectories in
      let plan = ScoringPlan(trajectories)
      let pass = try TrajectoryPass(plan, model: model, workspace: space, tape: nil, team: team, stages: stages)
      return plan.slotOrder.map { $0.map { pass.logProbs[$0] } }
    }
  }
}
