import Foundation
import Kernels
import ModelFiles
import Optimization
import Transformer

/// fp32 master weights, gradient and Adam moments, one flat allocation each; the learner alone owns them.
public final class LearnerState: TrainableState {
  public let layout: ParameterLayout
  public let master: AlignedBuffer<Float>
  public let gradient: AlignedBuffer<Float>
  public let firstMoment: AlignedBuffer<Float>
  public let secondMoment: AlignedBuffer<Float>
  /// Optimiser steps taken.
  public private(set) var step = 0
  public var keepsHead: Bool { false }

  public init(layout: ParameterLayout) {
    self.layout = layout
    master = AlignedBuffer(count: layout.count)
    gradient = AlignedBuffer(count: layout.count)
    firstMoment = AlignedBuffer(count: layout.count)
    secondMoment = AlignedBuffer(count: layout.count)
  }

  /// Master weights at the source's precision; from bf16 for GGUF (docs/numerics.md).
  ///
  /// - Throws: `ModelFileError` naming the file and the tensor.
  public convenience init(source: ModelSource) throws {
    self.init(layout: ParameterLayout(source.configuration))
    for parameter in layout.parameters {
      let target = UnsafeMutableBufferPointer(rebasing: master.elements[parameter.range])
      try source.readTensor(name: parameter.name, into: target)
      if source.format == .gguf {
        for index in target.indices { target[index] = target[index].roundedToBFloat16 }
      }
    }
  }

  /// Starts from given values, in layout order.
  public convenience init(layout: ParameterLayout, values: [Float]) {
    self.init(layout: layout)
    precondition(values.count == layout.count)
    master.base.update(from: values, count: values.count)
  }

  /// The master weights rounded to bf16: what workers compute with.
  public func roundedWeights(team: ThreadTeam) -> ModelWeights {
    let weights = ModelWeights(layout: layout, zeroed: false)
    nonisolated(unsafe) let target = weights.elements.baseAddress!
    let source = master.base
    team.forEachRange(layout.count, grain: 1 << 18) { range, _ in
      round(source + range.lowerBound, into: .bfloat16(target + range.lowerBound), count: range.count)
    }
    return weights
  }

  public func zeroGradient(team: ThreadTeam) {
    let base = gradient.base
    team.forEachRange(layout.count, grain: 1 << 18) { range, _ in
      (base + range.lowerBound).update(repeating: 0, count: range.count)
    }
  }

  public var gradientValues: UnsafeMutableBufferPointer<Float> { gradient.elements }

  public func gradientSink(
    into target: UnsafeMutablePointer<Float>, backend: any MatrixBackend, team: ThreadTeam
  ) -> WeightGradientSink { .full(target) }

  /// Per-parameter and total gradient norms, sums in a fixed order.
  ///
  /// - Throws: `OptimizationError` naming the first parameter whose gradient is not finite.
  public func gradientNorm(team: ThreadTeam) throws -> GradientNorm {
    try Training.gradientNorm(of: layout.parameters, in: UnsafeBufferPointer(gradient.elements), team: team)
  }

  /// One AdamW step with the gradient scaled by min(1, maxNorm / (norm + 1e-6)); writes the new bf16 weights.
  ///
  /// - Returns: the new weights and the gradient's norms before clipping.
  /// - Throws: `OptimizationError` when the gradient is not finite; nothing is then changed.
  public func apply(_ options: UpdateOptions, team: ThreadTeam) throws -> (weights: ModelWeights, norm: GradientNorm) {
    let norm = try gradientNorm(team: team)
    let scale =
      options.maxGradientNorm > 0
      ? GradientNorm.clipFactor(norm: norm.total, maxNorm: options.maxGradientNorm) : 1
    let optimizer = options.optimizer(at: step)
    step += 1
    let weights = ModelWeights(layout: layout, zeroed: false)
    nonisolated(unsafe) let (p, g) = (master.elements, UnsafeBufferPointer(gradient.elements))
    nonisolated(unsafe) let (m, v, w) = (firstMoment.elements, secondMoment.elements, weights.elements)
    let step = step
    team.forEachRange(layout.count, grain: 1 << 16) { range, _ in
      optimizer.update(
        step: step, gradientScale: Float(scale), range: range, master: p, gradient: g, firstMoment: m, secondMoment: v,
        weights: w)
    }
    return (weights, norm)
  }

  public func resetOptimizer() {
    firstMoment.base.update(repeating: 0, count: layout.count)
    secondMoment.base.update(repeating: 0, count: layout.count)
    step = 0
  }

  /// Sets the step count of a resumed run.
  public func resume(atStep step: Int) { self.step = step }
}
