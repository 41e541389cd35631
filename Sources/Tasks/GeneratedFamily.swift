/// The symbols that prompts and completions of a task are written in, each one token of the tiny model.
public struct TaskSymbols: Sendable, Equatable {
  /// Precede all others; ids count from 0.
  static let control = ["<pad>", "<bos>", "<think>", "</think>", "<eos>"]
  /// Follows the thought.
  public static let endOfThinking = "</think>"
  /// Follows the answer.
  public static let stop = "<eos>"

  /// Control tokens, then symbols of several characters, which stand in prompts alone.
  public var special: [String]
  /// Symbols of one character.
  public var characters: [Character]

  init(promptSymbols: [String] = [], characters: [Character]) {
    special = Self.control + promptSymbols
    self.characters = characters
  }
}

/// A kind of generated questions: how one is drawn, and what it is written in.
protocol GeneratedFamily: Sendable {
  /// - Throws: `TaskError` naming the option that is out of range.
  func validate() throws
  /// A question and whether it is kept from training, or `nil` when what was drawn is none.
  func draw(_ generator: inout SplitMix64) -> (example: GeneratedExample, isHeldOut: Bool)?
  /// What a tiny model made on the spot reads and writes; `nil` for questions in plain English.
  var symbols: TaskSymbols? { get }
}
