import Kernels
import Optimization
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

  /// The gradient that `apply` takes: memory of the state's.
  var gradientValues: UnsafeMutableBufferPointer<Float> { get }

  /// Where a backward pass of the current weights adds its gradient: memory of as many numbers as `gradientValues` has. Valid until
  /// the next call or `apply`.
  func gradientSink(
    into target: UnsafeMutablePointer<Float>, backend: any MatrixBackend, team: ThreadTeam
  ) -> WeightGradientSink

  /// One optimiser step with the gradient scaled by min(1, maxNorm / (norm + 1e-6)).
  ///
  /// - Returns: the new bf16 weights and the gradient's norms before clipping.
  /// - Throws: `OptimizationError` when the gradient is not finite; nothing is then changed.
  func apply(_ options: UpdateOptions, team: ThreadTeam) throws -> (weights: ModelWeights, norm: GradientNorm)

  /// Forgets the moments and the steps taken; the values stay.
  func resetOptimizer()
}

extension TrainableState {
  /// A backward pass of the current weights adds to `gradientValues`.
  public func gradientSink(backend: any MatrixBackend, team: ThreadTeam) -> WeightGradientSink {
    gradientSink(into: gradientValues.baseAddress!, backend: backend, team: team)
  }
}

/// The norms of `parameters`' gradients, sums in a fixed order.
///
/// - Throws: `OptimizationError` naming the first parameter whose gradient is not finite.
func gradientNorm(
  of parameters: [ParameterLayout.Parameter], in gradient: UnsafeBufferPointer<Float>, team: ThreadTeam
) throws -> GradientNorm {
  // Blocks of a parameter are summed by whoever comes, and added in order: the bits of `GradientNorm.init`.
  let firsts = parameters.reduce(into: [0]) { $0.append($0[$0.count - 1] + GradientNorm.blockCount(of: $1.range)) }
  let pieces = parameters.indices.flatMap { parameter in
    stride(from: 0, to: firsts[parameter + 1] - firsts[parameter], by: 64).map { (parameter, $0) }
  }
  var sums = [Double](repeating: 0, count: firsts[firsts.count - 1])
  nonisolated(unsafe) let source = gradient
  sums.withUnsafeMutableBufferPointer { sums in
    nonisolated(unsafe) let sums = sums
    team.run(pieces.count) { task, _ in
      let (parameter, first) = pieces[task]
      for block in first..<min(first + 64, firsts[parameter + 1] - firsts[parameter]) {
        sums[firsts[parameter] + block] = GradientNorm.sumOfSquares(
          source, in: parameters[parameter].range, block: block)
      }
    }
  }
  let norm = GradientNorm(
    sumsOfSquares: parameters.indices.map { sums[firsts[$0]..<firsts[$0 + 1]].reduce(0, +) })
  try norm.checkFinite(names: parameters.map(\.name))
  return norm
}
