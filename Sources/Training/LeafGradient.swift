import Kernels
import PolicyOptimization
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
  public var statistics = ObjectiveStatistics()
  /// Log-probs under the model that was differentiated: per trajectory, one per slot.
  public var logProbs: [[Float]] = []

  public init() {}
}

extension PolicyGradient {
  /// Computes a leaf's gradient: a function of the model's weights, the leaf and the options alone, the same bits on any
  /// number of threads.
  ///
  /// - Parameters:
  ///   - sink: where the passes add; its memory is that of `buffer`.
  ///   - type: what the gradient is rounded to.
  ///   - buffer: overwritten.
  ///   - passed: called after each pass.
  /// - Throws: as `accumulate`; the buffer then holds nothing of use.
  public func compute(
    _ leaf: GradientLeaf, model: PreparedModel, reference: PreparedModel?, options: ObjectiveOptions,
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
    for (pass, batch) in leaf.microBatches.enumerated() {
      let (statistics, logProbs) = try accumulate(
        batch, model: model, reference: reference, options: options, gradient: pass == 0 ? first : sink)
      result.statistics.merge(statistics)
      result.logProbs += logProbs
      passed()
    }
    buffer.round(to: type, team: team)
    return result
  }
}
