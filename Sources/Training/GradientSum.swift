import Kernels

/// Adds the nodes of a `GradientTree` as they come, in any order and from anybody: whatever is complete is merged at once,
/// along the tree, so that the root's bits do not depend on the order.
///
///     let sum = GradientSum(tree: GradientTree(leafCount: 3), into: state.gradientValues, team: team)
///     for leaf in 0..<3 {
///       let buffer = sum.takeBuffer()
///       …write the leaf's gradient into buffer.values…
///       try sum.insert(buffer, at: sum.tree.leaf(leaf))
///     }
///     sum.finish()
///
/// In leaf order a sum of n leaves holds at most 1 + ceil(log2 n) gradients at once, with the one that is computed.
public final class GradientSum {
  public let tree: GradientTree
  public let type: GradientType
  private let count: Int
  private let team: ThreadTeam
  /// Where the sum is wanted, and whether nobody has that memory now.
  private let target: GradientBuffer
  private var targetIsFree = true
  private var held: [GradientTree.Node: GradientBuffer] = [:]
  private let pool: GradientPool

  /// - Parameters:
  ///   - target: receives the sum; also a buffer of the sum until then. It must outlive this object.
  ///   - pool: memory that sums leave to each other.
  public init(
    tree: GradientTree, into target: UnsafeMutableBufferPointer<Float>, type: GradientType = .float32,
    pool: GradientPool = GradientPool(), team: ThreadTeam
  ) {
    guard let base = target.baseAddress else { preconditionFailure("a gradient of no numbers") }
    self.tree = tree
    self.type = type
    count = target.count
    self.team = team
    self.pool = pool
    self.target = GradientBuffer(lent: base, count: target.count)
    pool.limit = tree.depth
  }

  /// Nodes that wait for their siblings.
  public var heldNodes: [GradientTree.Node] { held.keys.sorted() }
  public var isComplete: Bool { held[tree.root] != nil }

  /// Memory for a node, of any values; the target itself while it is free.
  public func takeBuffer() -> GradientBuffer {
    if targetIsFree {
      targetIsFree = false
      return target
    }
    return pool.take(count: count)
  }

  /// Gives a buffer back unused.
  public func giveBack(_ buffer: GradientBuffer) {
    if buffer === target { targetIsFree = true } else { pool.give(buffer) }
  }

  /// Takes a node's gradient, rounded to `type` already, and merges what becomes complete by it.
  ///
  /// - Throws: `TrainingError` when the node is not in the tree, or its leaves are in the sum already.
  public func insert(_ buffer: GradientBuffer, at node: GradientTree.Node) throws {
    precondition(buffer.count == count, "a gradient of another layout")
    guard tree.contains(node) else {
      throw TrainingError("gradient node \(node) is not in a tree of \(tree.leafCount) leaves")
    }
    let leaves = tree.leaves(below: node)
    guard !held.keys.contains(where: { tree.leaves(below: $0).overlaps(leaves) }) else {
      throw TrainingError("gradient node \(node) is in the sum already")
    }
    var (node, buffer) = (node, buffer)
    while let sibling = tree.sibling(of: node), let other = held.removeValue(forKey: sibling),
      let parent = tree.parent(of: node)
    {
      // The sum is wanted in the target, so what is there stays there.
      let (to, from) = other === target ? (other, buffer) : (buffer, other)
      to.add(from, roundedTo: type, team: team)
      giveBack(from)
      (node, buffer) = (parent, to)
    }
    held[node] = buffer
  }

  /// Leaves the sum in the target.
  ///
  /// - Precondition: the sum is complete.
  public func finish() {
    guard let root = held.removeValue(forKey: tree.root) else { preconditionFailure("the sum is not complete") }
    if root !== target {
      nonisolated(unsafe) let (to, from) = (target.values, UnsafePointer(root.values))
      team.forEachRange(count, grain: 1 << 18) { range, _ in
        (to + range.lowerBound).update(from: from + range.lowerBound, count: range.count)
      }
      pool.give(root)
    }
    targetIsFree = true
  }

  /// Gives up: all memory goes back.
  public func abandon() {
    for buffer in held.values { giveBack(buffer) }
    held = [:]
  }
}

/// Memory of gradients that one sum leaves to the next: a step's sums follow each other in the same pages.
public final class GradientPool {
  private var spare: [GradientBuffer] = []
  /// Buffers kept: what a sum in leaf order needs beside its target. What came from elsewhere and is more is let go.
  var limit = 0

  public init() {}

  func take(count: Int) -> GradientBuffer {
    if let index = spare.lastIndex(where: { $0.count == count }) { return spare.remove(at: index) }
    spare = []
    return GradientBuffer(count: count)
  }

  func give(_ buffer: GradientBuffer) { if !buffer.isLent && spare.count < limit { spare.append(buffer) } }
}
