import Kernels
import PolicyOptimization
import Training
import Transformer

/// The gradient of an optimiser step: its leaves are computed one by one and summed along the fixed tree, so that the sum
/// has the same bits whoever computed which of them.
final class StepGradient {
  private let passes: PolicyGradient
  private let objective: ObjectiveOptions
  private let reference: PreparedModel?
  private let type: GradientType
  private let team: ThreadTeam
  private let pool = GradientPool()

  init(
    passes: PolicyGradient, objective: ObjectiveOptions, reference: PreparedModel?, type: GradientType,
    team: ThreadTeam
  ) {
    self.passes = passes
    self.objective = objective
    self.reference = reference
    self.type = type
    self.team = team
  }

  /// Leaves the gradient of `leaves` in the state's.
  ///
  /// - Returns: what came with each leaf.
  /// - Throws: `TrainingError` or `OptimizationError`; the state's gradient is then of no use.
  func run(_ leaves: [GradientLeaf], state: any TrainableState, model: PreparedModel) throws -> [LeafResult] {
    let sum = GradientSum(
      tree: GradientTree(leafCount: leaves.count), into: state.gradientValues, type: type, pool: pool,
      team: team)
    var results: [LeafResult] = []
    for (index, leaf) in leaves.enumerated() {
      let buffer = sum.takeBuffer()
      results.append(
        try passes.compute(
          leaf, model: model, reference: reference, options: objective, type: type,
          sink: state.gradientSink(into: buffer.values, backend: model.backend, team: team), into: buffer))
      try sum.insert(buffer, at: sum.tree.leaf(index))
    }
    sum.finish()
    return results
  }
}
