import Kernels
import Testing
import TestSupport

@testable import Training

/// The fixed tree: its shape, and the same bits in whatever order its nodes come.
struct GradientTreeTests {
  private let team = ThreadTeam(threadCount: 2)
  private static let count = 1000

  /// Values of mixed signs and sizes: another order of sums shows.
  private func leafValues(_ leaf: Int) -> [Float] {
    var random = SeededRandom(UInt64(leaf + 1))
    return (0..<Self.count).map { _ in
      let sign: Float = random.next() % 2 == 0 ? 1 : -1
      return sign * Float(random.next() % 1_000_003) * (random.next() % 3 == 0 ? 1e-3 : 1.7)
    }
  }

  /// From the definition: left child plus right child, a node without a right child is its left child.
  private func naive(_ level: Int, _ index: Int, _ leaves: [[Float]], _ type: GradientType) -> [Float]? {
    if level == 0 {
      guard index < leaves.count else { return nil }
      return leaves[index].map { type == .bfloat16 ? $0.roundedToBFloat16 : $0 }
    }
    guard let left = naive(level - 1, 2 * index, leaves, type) else { return nil }
    guard let right = naive(level - 1, 2 * index + 1, leaves, type) else { return left }
    return zip(left, right).map { type == .bfloat16 ? ($0 + $1).roundedToBFloat16 : $0 + $1 }
  }

  private func filled(_ buffer: GradientBuffer, _ values: [Float]) -> GradientBuffer {
    buffer.values.update(from: values, count: values.count)
    return buffer
  }

  private func bits(_ values: UnsafeMutablePointer<Float>) -> [UInt32] {
    (0..<Self.count).map { values[$0].bitPattern }
  }

  @Test func aRunThatIsNotAlignedHasNoNode() {
    let tree = GradientTree(leafCount: 6)
    #expect(tree.node(of: 4..<6) != nil && tree.node(of: 0..<4) != nil && tree.node(of: 0..<6) == tree.root)
    for run in [1..<3, 3..<5, 0..<3, 2..<6, 4..<8, -2..<0] { #expect(tree.node(of: run) == nil, "\(run)") }
  }

  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 31, 33])
  func shape(_ leafCount: Int) {
    let tree = GradientTree(leafCount: leafCount)
    #expect(1 << tree.depth >= leafCount && (tree.depth == 0 || 1 << (tree.depth - 1) < leafCount))
    #expect(tree.leaves(below: tree.root) == 0..<leafCount)
    for leaf in 0..<leafCount {
      var node = tree.leaf(leaf)
      #expect(tree.leaves(below: node) == leaf..<leaf + 1)
      #expect(tree.node(of: leaf..<leaf + 1) == node && tree.node(of: leaf..<leaf) == nil)
      var steps = 0
      while let parent = tree.parent(of: node) {
        let sibling = tree.sibling(of: node)!
        #expect(tree.contains(node) && tree.contains(sibling) && tree.sibling(of: sibling) == node)
        let (own, other) = (tree.leaves(below: node), tree.leaves(below: sibling))
        #expect(!own.isEmpty && !other.isEmpty && !own.overlaps(other))
        let both = min(own.lowerBound, other.lowerBound)..<max(own.upperBound, other.upperBound)
        #expect(tree.leaves(below: parent) == both && both.count == own.count + other.count)
        node = parent
        steps += 1
      }
      #expect(node == tree.root && steps <= tree.depth)
      #expect(tree.node(of: tree.leaves(below: node)) == node)
    }
    for bad in [(-1, 0), (tree.depth + 1, 0), (0, leafCount), (0, -1)] {
      #expect(!tree.contains(GradientTree.Node(level: bad.0, index: bad.1)))
    }
  }

  /// A leaf without a sibling has one name only, its highest.
  @Test func oneNamePerSum() {
    let tree = GradientTree(leafCount: 5)
    let last = tree.leaf(4)
    #expect(last == GradientTree.Node(level: 2, index: 1))
    #expect(!tree.contains(GradientTree.Node(level: 0, index: 4)))
    #expect(tree.sibling(of: last) == GradientTree.Node(level: 2, index: 0) && tree.parent(of: last) == tree.root)
  }

  @Test(arguments: GradientType.allCases)
  func anyOrderGivesTheTreesBits(_ type: GradientType) throws {
    for leafCount in [1, 2, 3, 5, 8, 11] {
      let leaves = (0..<leafCount).map(leafValues)
      let tree = GradientTree(leafCount: leafCount)
      let expected = naive(tree.depth, 0, leaves, type)!.map(\.bitPattern)
      let pool = GradientPool()
      for seed in 0..<12 {
        var random = SeededRandom(UInt64(100 + seed))
        let target = AlignedBuffer<Float>(count: Self.count)
        let sum = GradientSum(tree: tree, into: target.elements, type: type, pool: pool, team: team)
        // Random aligned nodes cover the leaves; a node's sum is formed elsewhere, as a worker does.
        var nodes: [GradientTree.Node] = []
        var at = 0
        while at < leafCount {
          var node = tree.leaf(at)
          while random.next() % 2 == 0, let parent = tree.parent(of: node), tree.leaves(below: parent).lowerBound == at
          {
            node = parent
          }
          nodes.append(node)
          at = tree.leaves(below: node).upperBound
        }
        while !nodes.isEmpty {
          let node = nodes.remove(at: Int(random.next() % UInt64(nodes.count)))
          let range = tree.leaves(below: node)
          let part = naive(node.level, node.index, leaves, type)!
          #expect(!range.isEmpty && !sum.isComplete)
          try sum.insert(filled(sum.takeBuffer(), part), at: node)
        }
        #expect(sum.isComplete && sum.heldNodes == [tree.root])
        sum.finish()
        #expect(bits(target.base) == expected, "\(leafCount) leaves, seed \(seed)")
      }
    }
  }

  @Test func theOrderOfSumsShows() {
    // The values must tell one order from another, or the test above could not fail.
    let leaves = (0..<5).map(leafValues)
    let chain = (0..<Self.count).map { index in leaves.reduce(Float(0)) { $0 + $1[index] }.bitPattern }
    #expect(naive(3, 0, leaves, .float32)!.map(\.bitPattern) != chain)
  }

  @Test func inOrderFewBuffersAreHeld() throws {
    let tree = GradientTree(leafCount: 23)
    let target = AlignedBuffer<Float>(count: Self.count)
    let sum = GradientSum(tree: tree, into: target.elements, team: team)
    for leaf in 0..<23 {
      let buffer = sum.takeBuffer()
      #expect(sum.heldNodes.count + 1 <= tree.nodesHeldInOrder)
      try sum.insert(filled(buffer, leafValues(leaf)), at: tree.leaf(leaf))
    }
    #expect(sum.isComplete)
  }

  @Test func oneLeafIsWrittenStraightIntoTheTarget() throws {
    let target = AlignedBuffer<Float>(count: Self.count)
    let sum = GradientSum(tree: GradientTree(leafCount: 1), into: target.elements, team: team)
    let buffer = sum.takeBuffer()
    #expect(buffer.values == target.base)
    try sum.insert(buffer, at: sum.tree.root)
    sum.finish()
  }

  @Test func whatIsInTheSumIsRefused() throws {
    let tree = GradientTree(leafCount: 4)
    let target = AlignedBuffer<Float>(count: Self.count)
    let sum = GradientSum(tree: tree, into: target.elements, team: team)
    func put(_ level: Int, _ index: Int) throws {
      try sum.insert(
        filled(GradientBuffer(count: Self.count), leafValues(0)), at: GradientTree.Node(level: level, index: index))
    }
    try put(1, 0)
    for (level, index) in [(0, 0), (0, 1), (1, 0), (2, 0), (0, 4), (3, 0)] {
      #expect(throws: TrainingError.self) { try put(level, index) }
    }
    try put(0, 3)
    try put(0, 2)
    #expect(sum.isComplete)
  }

  @Test func notANumberIsNoticed() {
    let buffer = filled(GradientBuffer(count: Self.count), leafValues(3))
    #expect(buffer.isFinite(team: team))
    for bad in [Float.nan, .infinity, -.infinity] {
      buffer.values[777] = bad
      #expect(!buffer.isFinite(team: team))
    }
    buffer.values[777] = .greatestFiniteMagnitude
    #expect(buffer.isFinite(team: team))
  }
}
