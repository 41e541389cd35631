import Gradients
import Kernels
import Objectives
import Training
import Transformer
import WeightSync

/// Computes gradients that others sent again and compares their bits.
struct GradientCheck {
  let passes: PolicyGradient
  let loss: Loss
  let reference: PreparedModel?
  let type: GradientType
  let team: ThreadTeam

  /// Who sent a gradient that is not that of its leaves.
  ///
  /// A relay's sum is taken apart into the nodes that it says it was sent, each held against the root that it says the worker
  /// announced.
  /// - Returns: nil: it is right. Otherwise the workers behind the relay whose nodes are wrong; none: whoever sent it is to blame.
  /// - Throws: `TrainingError` or `ObjectiveError` as the pass does.
  func wrongWorkers(
    _ arrived: ArrivedGradient, _ leaves: [GradientLeaf], _ weights: StepGradient.Weights
  ) throws -> [String]? {
    if try root(of: arrived.leaves, leaves, weights) == arrived.root { return nil }
    guard arrived.isFromRelay else { return [] }
    let tree = GradientTree(leafCount: leaves.count)
    var names: Set<String> = []
    var first = arrived.leaves.lowerBound
    for origin in arrived.origins {
      let run = first..<first + origin.leafCount
      first = run.upperBound
      // What no worker can have sent as one node, or without a root, is the relay's word alone.
      guard !origin.root.isEmpty, tree.node(of: run) != nil else { return [] }
      if try root(of: run, leaves, weights) != origin.root { names.insert(origin.workerName) }
    }
    return names.sorted()
  }

  /// Computes a node and hashes it as whoever sends it does.
  private func root(
    of run: Range<Int>, _ leaves: [GradientLeaf], _ weights: StepGradient.Weights
  ) throws -> [UInt8] {
    let count = weights.state.gradientValues.count
    let target = GradientBuffer(count: count)
    // A subtree has the shape of a tree of its leaves.
    let sum = GradientSum(
      tree: GradientTree(leafCount: run.count),
      into: UnsafeMutableBufferPointer(start: target.values, count: count), type: type, team: team)
    for (number, index) in run.enumerated() {
      let buffer = sum.takeBuffer()
      _ = try passes.compute(
        leaves[index], model: weights.model, reference: reference, loss: loss, type: type,
        sink: weights.state.gradientSink(into: buffer.values, backend: weights.model.backend, team: team), into: buffer)
      try sum.insert(buffer, at: sum.tree.leaf(number))
    }
    sum.finish()
    let payload = GradientPayload(target, type: type, team: team)
    return VersionHash.root(ofLeaves: VersionHash.leaves(of: UnsafeRawBufferPointer(payload.bytes), team: team)).bytes
  }
}
