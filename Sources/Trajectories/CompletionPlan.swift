import Thinking

/// One stage of what follows a prompt.
public enum Stage: Sendable, Equatable {
  /// Thinking steps of the trajectory's policy, at most `budget`, until one emits one of `ends`: that token is a discrete action
  /// and part of the thinking. `forcedEnd` follows when the budget runs out first.
  case think(budget: Int, ends: [Int32], forcedEnd: [Int32])
  /// Text that is fed and never scored.
  case force([Int32])
  /// Sampled tokens, at most `budget`, until one of `stops`, which is part of the answer.
  case answer(DiscreteSampling, budget: Int, stops: [Int32])
  /// Steps of another trajectory, fed as they were recorded. They are scored there, not here.
  case replay(ReplayedSteps)

  /// Positions that it takes at most.
  public var longest: Int {
    switch self {
    case .think(let budget, _, let forcedEnd): budget + forcedEnd.count
    case .force(let tokenIDs): tokenIDs.count
    case .answer(_, let budget, _): budget
    case .replay(let steps): steps.count
    }
  }

  /// Tokens that it names.
  var tokenIDs: [Int32] {
    switch self {
    case .think(_, let ends, let forcedEnd): ends + forcedEnd
    case .force(let tokenIDs): tokenIDs
    case .answer(_, _, let stops): stops
    case .replay(.tokens(let tokenIDs)): tokenIDs
    case .replay(.soft(let soft)): soft.tokenIDs.elements
    }
  }
}

/// The course of a trajectory after its prompt. Early exits, hints and second rounds are other plans than the usual one.
///
/// All thinking of a trajectory follows one policy, because the policy decides how its soft steps are scored.
public struct CompletionPlan: Sendable, Equatable {
  public var stages: [Stage]

  public init(_ stages: [Stage]) { self.stages = stages }

  /// The usual course: thinking, the forced prefix of the answer, the answer.
  ///
  /// - Parameters:
  ///   - endOfThinkingTokens: thinking ends with one of these; the first is forced when the budget runs out. None: with the
  ///     budget alone.
  ///   - answerPrefix: forced before the answer.
  public init(
    thinking budget: Int, endOfThinkingTokens: [Int32] = [], answerPrefix: [Int32] = [],
    answer sampling: DiscreteSampling = DiscreteSampling(), maxAnswerTokens: Int, stopTokens: [Int32] = []
  ) {
    stages = [.think(budget: budget, ends: endOfThinkingTokens, forcedEnd: Array(endOfThinkingTokens.prefix(1)))]
    if !answerPrefix.isEmpty { stages.append(.force(answerPrefix)) }
    stages.append(.answer(sampling, budget: maxAnswerTokens, stops: stopTokens))
  }

  /// Positions that the longest completion takes.
  public var longestCompletion: Int { stages.reduce(0) { $0 + $1.longest } }

  /// Temperatures other than the policy's at which its tokens are scored.
  public var answerTemperatures: [Float] {
    stages.compactMap { if case .answer(let sampling, _, _) = $0 { sampling.scoringTemperature } else { nil } }
  }

  /// What of its segments was recorded elsewhere, in order.
  public var replayed: [ReplayedSteps] { stages.compactMap { if case .replay(let steps) = $0 { steps } else { nil } } }

  /// What is wrong with it under a policy; nil: it can be sampled.
  ///
  /// - Parameter hiddenSize: components of the model's embeddings, which replayed vectors must have; nil: not looked at.
  public func problem(policy: ThinkingPolicy, hiddenSize: Int? = nil) -> String? {
    guard case .answer? = stages.last else { return "the plan must end with an answer" }
    for (index, stage) in stages.enumerated() {
      let place = "stage \(index) of the plan"
      switch stage {
      case .think(let budget, _, _):
        if budget < 0 { return "\(place): max_thinking_tokens must be at least 0" }
      case .answer(_, let budget, _):
        if budget < 1 { return "\(place): max_answer_tokens must be at least 1" }
      case .force(let tokenIDs):
        if tokenIDs.isEmpty { return "\(place) forces nothing" }
      case .replay(let steps):
        if steps.count == 0 { return "\(place) replays nothing" }
        if let problem = steps.problem(policy: policy, hiddenSize: hiddenSize) {
          return "\(place), replayed \(problem)"
        }
      }
    }
    return nil
  }

  /// The first token outside a vocabulary.
  public func unknownToken(vocabularySize: Int) -> Int32? {
    stages.lazy.flatMap(\.tokenIDs).first { $0 < 0 || Int($0) >= vocabularySize }
  }
}

/// Steps of another trajectory that are fed again.
public enum ReplayedSteps: Sendable, Equatable {
  /// Fed as their mixtures; without log-probs.
  case soft(SoftSegment)
  /// Fed one-hot: sampled tokens and forced ones.
  case tokens([Int32])

  public var count: Int {
    switch self {
    case .soft(let soft): soft.count
    case .tokens(let tokenIDs): tokenIDs.count
    }
  }

  /// What is wrong with their shapes, or `nil`.
  func problem(policy: ThinkingPolicy, hiddenSize: Int?) -> String? {
    guard case .soft(let soft) = self else { return nil }
    guard let steps = policy.records else {
      return "steps are soft, but policy.kind is '\(policy.name)', which has no soft steps"
    }
    if soft.tokenIDs.count != soft.values.count {
      return "steps have \(soft.tokenIDs.count) rows of ids and \(soft.values.count) of values"
    }
    for step in 0..<soft.count {
      if let problem = soft.withRecord(step, { recordProblem($0, steps) }) {
        return "step \(step): \(problem)"
      }
      if let hiddenSize, let count = soft.withRecord(step, { policy.vectorSteps?.input(of: $0).count }),
        count != hiddenSize
      {
        return "step \(step): a vector of \(count) components, but the model's embeddings have \(hiddenSize)"
      }
    }
    return nil
  }
}
