/// The fixed binary tree along which a step's gradient is summed (docs/gradient-leases.md).
///
/// Leaves are numbered from 0. Node (level, index) is the sum of the leaves index 2^level ..< (index + 1) 2^level, of those
/// that there are: left child plus right child; a node without a right child is its left child (it rises unchanged). The
/// tree depends on the number of leaves alone, so the root has the same bits whoever summed which node, and when.
public struct GradientTree: Sendable, Equatable {
  /// A sum of an aligned run of leaves. Nodes that are one and the same sum have one name: the highest.
  public struct Node: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let level: Int
    public let index: Int

    public init(level: Int, index: Int) {
      self.level = level
      self.index = index
    }

    public var description: String { "\(level)/\(index)" }
    public static func < (left: Self, right: Self) -> Bool { (left.level, left.index) < (right.level, right.index) }
  }

  /// At least 1.
  public let leafCount: Int

  public init(leafCount: Int) {
    precondition(leafCount >= 1, "a sum has at least one term")
    self.leafCount = leafCount
  }

  /// The level of the root: 0 for one leaf, 1 for two, 2 for three and four, …
  public var depth: Int { Int.bitWidth - (leafCount - 1).leadingZeroBitCount }
  public var root: Node { Node(level: depth, index: 0) }

  /// Most nodes that are neither leaves of the sum to come nor merged yet, when leaves are computed in their order: what
  /// one machine alone holds at once, the leaf that it computes included.
  public var nodesHeldInOrder: Int { depth + 1 }

  /// The leaves below a node.
  public func leaves(below node: Node) -> Range<Int> {
    min(leafCount, node.index << node.level)..<min(leafCount, (node.index + 1) << node.level)
  }

  /// The name of one leaf's sum.
  public func leaf(_ index: Int) -> Node { named(Node(level: 0, index: index)) }

  /// The node whose leaves are these; nil: the run is not aligned.
  public func node(of run: Range<Int>) -> Node? {
    guard run.lowerBound >= 0, run.upperBound <= leafCount, !run.isEmpty else { return nil }
    var node: Node? = leaf(run.lowerBound)
    while let name = node, leaves(below: name) != run { node = parent(of: name) }
    return node
  }

  /// The highest node that is the same sum.
  public func named(_ node: Node) -> Node {
    var node = node
    while node.level < depth, node.index & 1 == 0, (node.index + 1) << node.level >= leafCount {
      node = Node(level: node.level + 1, index: node.index >> 1)
    }
    return node
  }

  /// Whether the node is in this tree, under its name.
  public func contains(_ node: Node) -> Bool {
    (0...depth).contains(node.level) && node.index >= 0 && node.index <= (leafCount - 1) >> node.level
      && named(node) == node
  }

  /// The node that is added to this one; nil for the root.
  public func sibling(of node: Node) -> Node? {
    node.level >= depth ? nil : named(Node(level: node.level, index: node.index ^ 1))
  }

  /// The sum of a node and its sibling, under its name; nil for the root.
  public func parent(of node: Node) -> Node? {
    node.level >= depth ? nil : named(Node(level: node.level + 1, index: node.index >> 1))
  }
}
