/// Segment Policy Optimization, tree form (arXiv 2505.23564): V of a leaf is its reward, V of an inner node the mean of
/// its *children's* values; the edge to a child has A = V(child) - V(parent), divided by the population std of the
/// siblings' values + 1e-8 with the form `grpo`. `rloo`, the default of the authors' configurations, has no division.
/// Edges without an advantage are not trained.
///
/// A function, not an estimator that can be trained with: no rollout plan samples trees yet. Soft tokens: children are
/// forks with new noise.
public struct SegmentTree: Sendable {
  public indirect enum Node: Sendable {
    case leaf(reward: Double)
    case inner([Node])

    public var value: Double {
      switch self {
      case .leaf(let reward): reward
      case .inner(let children): Statistics(children.map(\.value)).mean
      }
    }
  }

  public struct Edge: Sendable, Equatable {
    /// Indices of children from the root; the last is the edge's own.
    public var path: [Int]
    /// V of the child.
    public var value: Double
    public var advantage: Double
    public var isTrained: Bool
  }

  public var dividesByDeviation: Bool

  public init(dividesByDeviation: Bool = false) { self.dividesByDeviation = dividesByDeviation }

  /// Parents before their children, siblings in order.
  public func edges(_ root: Node, path: [Int] = []) -> [Edge] {
    guard case .inner(let children) = root else { return [] }
    let statistics = Statistics(children.map(\.value))
    let divisor = dividesByDeviation ? statistics.populationDeviation + 1e-8 : 1
    var edges: [Edge] = []
    for (index, child) in children.enumerated() {
      let advantage = (child.value - statistics.mean) / divisor
      edges.append(
        Edge(path: path + [index], value: child.value, advantage: advantage, isTrained: child.value != statistics.mean))
      edges += self.edges(child, path: path + [index])
    }
    return edges
  }
}
