import JSON
import Parameters

/// What a reward says: `correctness` counts in pass@k and maj@k, `shaping` is for training alone.
public enum RewardRole: String, Sendable, CaseIterable {
  case correctness
  case shaping
}

/// What a reward must see at once to judge a completion.
public enum RewardScope: Sendable, Equatable {
  /// The completion itself. It is handed many together all the same, so that it may judge them at once.
  case completion
  /// All completions of its group.
  case group
  /// All completions of the step.
  case step
}

/// A completion to be judged.
public struct RewardQuery: Sendable, Equatable {
  public var promptID: String
  /// The question as text.
  public var question: String
  /// The reference answer.
  public var answer: String
  /// The other fields of the prompt's line in its file.
  public var fields: JSONObject?
  public var completion: Completion
  /// Completions with the same number are siblings.
  public var group: Int
  /// Within the group.
  public var sampleIndex: Int
  /// Steps that the run's budgets allow, forced ones not counted; 0: not known.
  public var longestCompletion: Int
  /// Whether the answer is correct, as `reward.judge` has it; filled in for rewards that read it. nil: it was not judged.
  public var isCorrect: Bool?

  public init(
    promptID: String = "", question: String = "", answer: String, fields: JSONObject? = nil, completion: Completion,
    group: Int = 0, sampleIndex: Int = 0, longestCompletion: Int = 0, isCorrect: Bool? = nil
  ) {
    self.fields = fields
    self.promptID = promptID
    self.question = question
    self.answer = answer
    self.completion = completion
    self.group = group
    self.sampleIndex = sampleIndex
    self.longestCompletion = longestCompletion
    self.isCorrect = isCorrect
  }
}

/// What a reward makes of a completion.
public enum RewardVerdict: Sendable, Equatable {
  /// Finite.
  case value(Float)
  /// There is no reward, which is not a reward of 0: the sample is not trained on.
  case notJudged(reason: String)
}

/// Judges completions against reference answers. A new reward is one file and one line in `RewardRegistry`.
///
/// Its parameters are keys of the `reward` section: their names begin with the reward's own.
public protocol RewardFunction: Part {
  static var role: RewardRole { get }
  /// The role that its parameters give it; `Self.role` unless they do.
  var role: RewardRole { get }
  static var scope: RewardScope { get }
  /// The key `reward.NAME`: its default and its range. A weight of 0 leaves the reward out.
  static var weight: Parameter { get }
  /// Whether it reads `RewardQuery.isCorrect`.
  static var readsCorrectness: Bool { get }

  /// Checks the parameters against a run's budgets.
  /// - Parameter longestCompletion: steps that the run's budgets allow.
  /// - Throws: `ParameterError` that begins with the parameter's name.
  func validate(longestCompletion: Int) throws

  /// Why nothing can be compared with a reference answer; nil when it can be.
  func referenceFault(_ answer: String) -> String?
  /// The same, for rewards that read the other fields of the prompt's line too.
  func referenceFault(_ answer: String, fields: JSONObject?) -> String?

  /// Whether a completion holds what the reward takes for an answer, be it right or wrong; nil: it looks for none.
  func hasAnswer(_ completion: Completion) -> Bool?

  /// How completions vote in maj@k; nil: the reward does not say which answers are the same.
  var ballot: Ballot? { get }

  /// Why a completion gets what it gets, for people; nil: the reward says nothing about it.
  func explanation(_ query: RewardQuery) -> String?

  /// - Parameter queries: whole groups or the whole step where `scope` asks for them; all that there are otherwise.
  /// - Returns: a verdict each, in the same order. A completion that cannot be judged gets `notJudged`.
  /// - Throws: what must end the run.
  func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict]
}

extension RewardFunction {
  public var role: RewardRole { Self.role }
  public static var scope: RewardScope { .completion }
  public static var weight: Parameter { .number(name, 0, .any, summary) }
  public static var readsCorrectness: Bool { false }
  public func validate(longestCompletion: Int) throws {}
  public func referenceFault(_ answer: String) -> String? { nil }
  public func referenceFault(_ answer: String, fields: JSONObject?) -> String? { referenceFault(answer) }
  public func hasAnswer(_ completion: Completion) -> Bool? { nil }
  public var ballot: Ballot? { nil }
  public func explanation(_ query: RewardQuery) -> String? { nil }
}

/// A reward that follows from one completion, without a clock, a network or siblings.
public protocol CompletionReward: RewardFunction {
  /// Finite for any text.
  func reward(_ query: RewardQuery) -> Float
}

extension CompletionReward {
  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    queries.map { query in
      let value = reward(query)
      // A reward was earned against a reference that was understood; without one there may be nothing to compare with.
      if value == 0, let fault = referenceFault(query.answer) { return .notJudged(reason: fault) }
      return .value(value)
    }
  }

  /// Of a completion without a run around it.
  func reward(completion: Completion, answer: String) -> Float {
    reward(RewardQuery(answer: answer, completion: completion))
  }
}

/// A reward that somebody else gives, and takes time for: completions are handed over as they arrive, while others are still
/// sampled. What it says of a completion may depend on nothing but the query.
public protocol ConsultedReward: RewardFunction {
  /// Hands completions over and returns at once.
  /// - Returns: a verdict each, in the same order, each of which is settled some time.
  func ask(_ queries: [RewardQuery]) -> [PendingVerdict]
}

extension ConsultedReward {
  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] { ask(queries).map { $0.wait() } }
}
