/// Which of the named nodes can be reached in exactly so many steps? A graph is given in the prompt, fresh each time, so that
/// nothing can be memorised; a thought is a walk. One walk sees one end, a mixture of walks can see several.
///
///     prompt   <bos>c>ha>d…  a bdfij<think>     every edge one symbol, then the start and the candidates (without the spaces)
///     thought  dj                               a walk of `depth` nodes
///     answer   bj                               the candidates that can be reached, in the prompt's order
///
/// The teacher of the warm-up walks to one of the targets with probability `expert` and at random otherwise; its answer is
/// always right.
public struct MazeTask: Sendable, Equatable, Hashable, Codable, GeneratedFamily {
  /// Nodes of the graph, named a, b, c, …
  public var nodes: Int
  /// Edges that leave a node.
  public var degree: Int
  /// Steps of a walk.
  public var depth: Int
  /// Nodes that the prompt names.
  public var candidates: Int
  /// How many of them can be reached.
  public var targets: Int
  /// Probability that the teacher's first walk ends at a target.
  public var expert: Double
  /// Walks of the teacher's thought, one after another: what a thought of discrete tokens needs to see several ends.
  public var walks: Int

  public init(
    nodes: Int = 10, degree: Int = 2, depth: Int = 2, candidates: Int = 5, targets: Int = 2, expert: Double = 0.5,
    walks: Int = 1
  ) {
    self.nodes = nodes
    self.degree = degree
    self.depth = depth
    self.candidates = candidates
    self.targets = targets
    self.expert = expert
    self.walks = walks
  }

  /// Walks of a start are listed, so there must not be too many.
  private static let largestWalkCount = 65_536

  /// - Throws: `TaskError` naming the option that is out of range.
  public func validate() throws {
    func require(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
      guard range.contains(value) else {
        throw TaskError("maze.\(name): must be in \(range.lowerBound)...\(range.upperBound), got \(value)")
      }
    }
    try require("nodes", nodes, 3...26)
    try require("degree", degree, 1...(nodes - 1))
    try require("depth", depth, 1...16)
    try require("candidates", candidates, 2...nodes)
    try require("targets", targets, 1...(candidates - 1))
    try require("walks", walks, 1...16)
    guard expert >= 0, expert <= 1 else { throw TaskError("maze.expert: must be in [0, 1], got \(expert)") }
    var count = 1
    for _ in 0..<depth { count = min(count * degree, Self.largestWalkCount + 1) }
    guard count <= Self.largestWalkCount else {
      throw TaskError(
        "maze.depth: \(degree) edges a node make more than \(Self.largestWalkCount) walks of \(depth) steps; lower either"
      )
    }
  }

  public var symbols: TaskSymbols? {
    let names = (0..<nodes).map(Self.name)
    let edges = names.flatMap { from in names.filter { $0 != from }.map { "\(from)>\($0)" } }
    return TaskSymbols(promptSymbols: edges, characters: names)
  }

  private static func name(_ node: Int) -> Character { Character(UnicodeScalar(UInt8(ascii: "a") + UInt8(node))) }

  /// A question, or `nil` when the graph that was drawn has too few ends, or too many.
  func draw(_ generator: inout SplitMix64) -> (example: GeneratedExample, isHeldOut: Bool)? {
    let successors = (0..<nodes).map { node in
      Array((0..<nodes).filter { $0 != node }.shuffled(using: &generator).prefix(degree))
    }
    let start = Int(generator.below(UInt64(nodes)))
    let walks = self.walks(from: start, successors)
    let ends = Set(walks.map { $0[depth - 1] })
    guard ends.count >= targets, nodes - ends.count >= candidates - targets else { return nil }
    let chosen = Array(ends.sorted().shuffled(using: &generator).prefix(targets))
    let others = (0..<nodes).filter { !ends.contains($0) }.shuffled(using: &generator).prefix(candidates - targets)
    let named = (chosen + others).shuffled(using: &generator)
    let edges = successors.enumerated()
      .flatMap { from, targets in targets.map { "\(Self.name(from))>\(Self.name($0))" } }
      .shuffled(using: &generator)

    var thought = ""
    for walk in 0..<self.walks {
      let leads = walk == 0 && generator.unit() < expert
      let possible = leads ? walks.filter { $0[depth - 1] == chosen[0] } : walks
      thought += String(possible[Int(generator.below(UInt64(possible.count)))].map(Self.name))
    }
    let question = edges.joined() + String(Self.name(start)) + String(named.map(Self.name))
    let answer = String(named.filter(chosen.contains).map(Self.name))
    let prompt = Prompt(id: question, content: .text("<bos>\(question)<think>"), answer: answer)
    return (
      GeneratedExample(prompt: prompt, thought: thought, answer: answer), ArithmeticTask.isHeldOut(question)
    )
  }

  /// Every walk of `depth` steps, as the nodes behind the start; equal ends may be reached in several ways.
  private func walks(from start: Int, _ successors: [[Int]]) -> [[Int]] {
    var walks: [[Int]] = [[]]
    for _ in 0..<depth {
      walks = walks.flatMap { walk in successors[walk.last ?? start].map { walk + [$0] } }
    }
    return walks
  }
}
