/// A generated question with a worked answer.
public struct GeneratedExample: Sendable, Equatable {
  /// Its answer is the true one.
  public var prompt: Prompt
  /// The worked steps, for supervised warm-up.
  public var thought: String
  /// What the teacher concludes: the true answer, unless the teacher is careless.
  public var answer: String

  public init(prompt: Prompt, thought: String, answer: String) {
    self.prompt = prompt
    self.thought = thought
    self.answer = answer
  }
}

/// Questions without end, made from a seed and an index: the same on every box, in any order, from nothing.
///
/// Training and held-out questions share no prompt: a hash of the prompt decides, one in eight is held out.
public enum GeneratedTask: Sendable, Equatable, Hashable, Codable {
  /// The tiny task of 19 symbols: several digits times one digit.
  case multiply(MultiplyTask)
  /// Questions in plain English for real models.
  case arithmetic(ArithmeticTask)
  /// Which nodes of a graph can be reached: thoughts that must keep several candidates alive.
  case maze(MazeTask)

  public enum Split: String, Sendable, Codable { case training, heldOut = "held_out" }

  /// Draws that may fail to hit a split before the task is called too small for it.
  static let maximumAttempts = 4096

  private var family: any GeneratedFamily {
    switch self {
    case .multiply(let task): task
    case .arithmetic(let task): task
    case .maze(let task): task
    }
  }

  /// What a tiny model made on the spot reads and writes; `nil` where the task needs a model of its own.
  public var symbols: TaskSymbols? { family.symbols }

  /// Example `index` of the split's stream. Streams may repeat a prompt.
  /// - Throws: `TaskError` when the options are invalid or have no prompt in this split.
  public func example(_ split: Split, seed: UInt64, index: UInt64) throws -> GeneratedExample {
    try validate()
    var generator = SplitMix64(seed: seed, index: index)
    for _ in 0..<Self.maximumAttempts {
      if let drawn = family.draw(&generator), drawn.isHeldOut == (split == .heldOut) { return drawn.example }
    }
    throw TaskError(
      "the generated task has no \(split.rawValue) question among \(Self.maximumAttempts) draws; "
        + "widen its operand range (or allow negative results)")
  }

  /// `count` distinct held-out examples, in the order of the stream.
  /// - Throws: `TaskError` when the task does not have that many, or its options are invalid.
  public func heldOut(count: Int, seed: UInt64) throws -> [GeneratedExample] {
    var result: [GeneratedExample] = []
    var known: Set<String> = []
    var index: UInt64 = 0
    var repeats = 0
    while result.count < count {
      let example = try example(.heldOut, seed: seed, index: index)
      index += 1
      if known.insert(example.prompt.id).inserted {
        result.append(example)
        repeats = 0
      } else {
        repeats += 1
        guard repeats < Self.maximumAttempts else {
          throw TaskError(
            "the generated task has only about \(result.count) held-out questions, \(count) were asked for")
        }
      }
    }
    return result
  }

  /// - Throws: `TaskError` naming the option that is out of range.
  public func validate() throws { try family.validate() }
}
