/// Which prompt comes next: every prompt once an epoch, in an order that depends on (seed, epoch) alone.
///
/// Fisher-Yates over SplitMix64. `state` is all there is to save: a cursor made from it continues with the same sequence.
public struct PromptCursor: Sendable {
  /// The place in the sequence, as a checkpoint keeps it.
  public struct State: Sendable, Equatable, Codable {
    public var seed: UInt64
    public var epoch: Int
    /// Prompts already taken from this epoch.
    public var position: Int
    /// Prompts in the data set the state belongs to.
    public var count: Int
    /// Without shuffling, every epoch is the file's order.
    public var shuffles: Bool
  }

  public private(set) var state: State
  private var order: [Int] = []

  /// - Parameter count: prompts in the data set.
  /// - Throws: `TaskError` when there are none.
  public init(count: Int, seed: UInt64, shuffles: Bool = true) throws {
    try self.init(state: State(seed: seed, epoch: 0, position: 0, count: count, shuffles: shuffles), count: count)
  }

  /// Resumes.
  /// - Parameter count: prompts in the data set now.
  /// - Throws: `TaskError` when the data set has changed its size, or the state is impossible.
  public init(state: State, count: Int) throws {
    guard count > 0 else { throw TaskError("prompt order: there are no prompts") }
    guard state.count == count else {
      throw TaskError(
        "prompt order: the checkpoint belongs to a data set of \(state.count) prompts, this one has \(count); "
          + "resume with the same prompt file, or start a new run")
    }
    guard state.epoch >= 0, (0...count).contains(state.position) else {
      throw TaskError("prompt order: impossible state (epoch \(state.epoch), position \(state.position) of \(count))")
    }
    self.state = state
    order = Self.order(state)
  }

  /// Index of the next prompt.
  public mutating func next() -> Int {
    if state.position == state.count {
      state.epoch += 1
      state.position = 0
      order = Self.order(state)
    }
    defer { state.position += 1 }
    return order[state.position]
  }

  /// Indices of the next `count` prompts; a batch may reach into the next epoch.
  public mutating func next(_ count: Int) -> [Int] { (0..<count).map { _ in next() } }

  private static func order(_ state: State) -> [Int] {
    var order = Array(0..<state.count)
    guard state.shuffles else { return order }
    var generator = SplitMix64(seed: state.seed, index: UInt64(state.epoch))
    for index in stride(from: state.count - 1, to: 0, by: -1) {
      order.swapAt(index, Int(generator.below(UInt64(index + 1))))
    }
    return order
  }
}
