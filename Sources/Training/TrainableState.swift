import Kernels
import PolicyOptimization
import Transformer

/// What an optimiser owns: the fp32 values that it trains, their gradient and their moments. The model's weights
/// themselves (`LearnerState`), or adapters on frozen ones (`AdapterState`).
public protocol TrainableState: AnyObject {
  /// Layout of the model that is trained.
  var layout: ParameterLayout { get }
  /// Optimiser steps taken.
  var step: Int { get }
  /// Whether embeddings and head are never changed.
  var keepsHead: Bool { get }

  /// The bf16 weights that the trained values stand for: what workers and learner compute with.
  func roundedWeights(team: ThreadTeam) -> ModelWeights

  func zeroGradient(team: ThreadTeam)

  /// Where a backward pass of the current weights adds its gradient. Valid until the next `apply`.
  func gradientSink(backend: any MatrixBackend, team: ThreadTeam) -> WeightGradientSink

  /// One optimiser step with the gradient scaled by min(1, maxNorm / (norm + 1e-6)).
  ///
  /// - Returns: the new bf16 weights and the gradient's norms before clipping.
  /// - Throws: `OptimizationError` when the gradient is not finite; nothing is then changed.
  func apply(_ options: UpdateOptions, team: ThreadTeam) throws -> (weights: ModelWeights, norm: GradientNorm)

  /// Forgets the moments and the steps taken; the values stay.
  func resetOptimizer()
}

/// Sums of squares of `parameters`' gradients, whole parameters by thread, and their norm.
///
/// - Throws: `OptimizationError` naming the first parameter whose gradient is not finite.
func gradientNorm(
  of parameters: [ParameterLayout.Parameter], in gradient: UnsafeBufferPointer<Float>, team: ThreadTeam
) throws -> GradientNorm {
  let sums = AlignedBuffer<Double>(count: parameters.count)
  nonisolated(unsafe) let (target, source) = (sums.base, gradient)
  team.run(parameters.count) { task, _ in
    target[task] = GradientNorm.sumOfSquares(source, in: parameters[task].range)
  }
  let norm = GradientNorm(sumsOfSquares: (0..<parameters.count).map { sums.base[$0] })
  try norm.checkFinite(names: parameters.map(\.name))
  return norm
}
