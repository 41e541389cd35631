// Plans of early exits: a thought replayed up to a cut, words that end it, and an answer.
extension CompletionPlan {
  /// Thinking steps that it allows.
  public var thinkingBudget: Int {
    stages.reduce(0) { if case .think(let budget, _, _) = $1 { $0 + budget } else { $0 } }
  }

  /// What follows its thinking, after `words` that end it in place of an end of its own.
  public func exiting(saying words: [Int32]) -> CompletionPlan {
    let thought = stages.firstIndex { if case .think = $0 { true } else { false } }
    let rest = stages[(thought.map { $0 + 1 } ?? 0)...]
    return CompletionPlan((words.isEmpty ? [] : [.force(words)]) + rest)
  }

  /// The same after steps that another trajectory recorded.
  public func replaying(_ steps: [ReplayedSteps]) -> CompletionPlan {
    CompletionPlan(steps.map { .replay($0) } + stages)
  }
}
