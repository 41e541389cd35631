import JSON

/// Something in a run's figures that its owner should know, with what may be the cause and what helps.
public struct RunWarning: Sendable, Equatable {
  /// Why it may be so, and what to do about it.
  public struct Cause: Sendable, Equatable {
    public var why: String
    public var remedy: String

    public init(_ why: String, remedy: String) {
      self.why = why
      self.remedy = remedy
    }
  }

  /// Of the rule, as `run.stop_when` names it.
  public var name: String
  /// The step at which it was seen, from 1.
  public var step: Int
  public var what: String
  public var causes: [Cause]

  public init(name: String, step: Int, what: String, causes: [Cause]) {
    self.name = name
    self.step = step
    self.what = what
    self.causes = causes
  }

  /// What is said of it: a line, and one for each cause.
  public var lines: [String] {
    ["step \(step): \(what) [\(name)]"] + causes.map { "[\(name)] cause: \($0.why). Remedy: \($0.remedy)." }
  }

  public var json: JSONValue {
    .members([
      "step": .integer(step), "name": .string(name), "what": .string(what),
      "causes": .array(causes.map { .members(["why": .string($0.why), "remedy": .string($0.remedy)]) }),
    ])
  }
}

/// What the rules know of a run beside its records.
public struct RunFacts: Sendable, Equatable {
  /// `rollout.max_thinking_tokens`; 0: there is no thinking.
  public var thinkingBudget: Int
  /// `rollout.max_answer_tokens`.
  public var answerBudget: Int
  /// Whether there is a token that ends the thinking.
  public var canEndThinking: Bool
  /// Folder of the run.
  public var directory: String

  public init(thinkingBudget: Int, answerBudget: Int, canEndThinking: Bool, directory: String) {
    self.thinkingBudget = thinkingBudget
    self.answerBudget = answerBudget
    self.canEndThinking = canEndThinking
    self.directory = directory
  }
}
