import Parameters
import Thinking
import Trajectories

/// What a group's samples are for.
public enum GroupRole: String, Sendable, Codable {
  /// They are trained on.
  case train
  /// Only looked at: how hard a prompt is.
  case probe
  /// Text that its children build on.
  case draft
}

/// A group that opens a prompt: what `PromptScheduler.next` asks for.
public struct DrawnGroup: Sendable, Equatable, Codable {
  public var prompt: Prompt
  public var role: GroupRole
  /// Trajectories of the group.
  public var sampleCount: Int
  /// The scheduler's own note, from which it makes the plan: a hint's number, a round.
  public var note: String

  public init(prompt: Prompt, role: GroupRole = .train, sampleCount: Int, note: String = "") {
    self.prompt = prompt
    self.role = role
    self.sampleCount = sampleCount
    self.note = note
  }
}

/// A group that follows from a finished one, its parent, with the parent's prompt.
public struct ChildGroup: Sendable, Equatable {
  public var plan: CompletionPlan
  public var role: GroupRole
  public var sampleCount: Int
  /// Whether its samples are members of the parent's group, as exits of one thought are; otherwise they are a group of their own.
  public var joinsParent: Bool
  public var note: String

  public init(
    plan: CompletionPlan, role: GroupRole = .train, sampleCount: Int = 1, joinsParent: Bool = true, note: String = ""
  ) {
    self.plan = plan
    self.role = role
    self.sampleCount = sampleCount
    self.joinsParent = joinsParent
    self.note = note
  }
}

/// A group all of whose samples are there, or were given up.
public struct FinishedGroup: Sendable, Equatable {
  public var ordinal: Int
  /// Ordinal of the group that it follows from.
  public var parent: Int?
  public var role: GroupRole
  public var prompt: Prompt
  public var note: String
  /// By sample index; some may be missing. With rewards where the scheduler reads them, and they could be judged.
  public var samples: [Trajectory]

  public init(
    ordinal: Int, parent: Int? = nil, role: GroupRole, prompt: Prompt, note: String = "", samples: [Trajectory]
  ) {
    self.ordinal = ordinal
    self.parent = parent
    self.role = role
    self.prompt = prompt
    self.note = note
    self.samples = samples
  }
}

/// What becomes of a finished group.
public enum GroupDecision: Sendable, Equatable {
  /// It is trained on as its role says.
  case train
  /// So it is, together with these, which are sampled first. At most as many in a prompt as `ordinalsPerPrompt` leaves room for.
  case hold([ChildGroup])
  /// It is not trained on. While the step's `maximumDraws` allow it, another prompt takes its place.
  case drop
}

/// What a scheduler knows of the run.
public struct SchedulerContext: Sendable {
  /// The usual course of a completion.
  public var plan: CompletionPlan
  public var policy: ThinkingPolicy
  /// Trajectories of a prompt in a step.
  public var groupSize: Int
  public var seed: UInt64
  /// Thinking ends with one of these.
  public var endOfThinkingTokens: [Int32]
  /// Text as tokens; throws for what the vocabulary cannot spell.
  public var encode: @Sendable (String) throws -> [Int32]

  public init(
    plan: CompletionPlan, policy: ThinkingPolicy, groupSize: Int, seed: UInt64, endOfThinkingTokens: [Int32],
    encode: @escaping @Sendable (String) throws -> [Int32]
  ) {
    self.plan = plan
    self.policy = policy
    self.groupSize = groupSize
    self.seed = seed
    self.endOfThinkingTokens = endOfThinkingTokens
    self.encode = encode
  }
}

/// Decides which prompts are sampled, with which plans, and what becomes of their groups. A new one is one file and one line in
/// `SchedulerRegistry`.
///
/// Everything it decides must follow from its state and what it is given: a resumed run decides the same. Groups finish in an
/// order that nobody can repeat, so `finished` changes nothing; what is learned from a step goes into the state in `concluded`,
/// which sees its groups in one order.
public protocol PromptScheduler: Sendable {
  /// What of it a checkpoint keeps.
  associatedtype State: Codable & Sendable

  /// In snake case, as `rollout.scheduler` names it.
  static var name: String { get }
  static var summary: String { get }
  /// Keys of the `rollout` section: their names begin with the scheduler's own.
  static var parameters: [Parameter] { get }
  /// Whether `finished` needs the samples' rewards.
  static var readsRewards: Bool { get }

  /// - Throws: `ParameterError` that begins with a key of the `rollout` section.
  static func validate(_ values: ParameterValues, groupSize: Int) throws
  /// - Throws: `ParameterError` that begins with a key of the `rollout` section.
  init(_ values: ParameterValues, _ context: SchedulerContext) throws

  var state: State { get set }
  /// Group ordinals, which name groups for ever and key their noise, that a prompt's groups take together: the drawn one's and
  /// those of its children. Reserved in advance, so that nothing depends on the order in which groups finish.
  var ordinalsPerPrompt: Int { get }
  /// Times that a step draws: once, and again for the groups that were dropped of the draw before, when all of it is finished;
  /// at least 1.
  var maximumDraws: Int { get }
  /// Positions that the longest completion of any of its plans takes.
  var longestCompletion: Int { get }

  /// The groups that open the next step, or replace what was dropped of one.
  /// - Parameter prompts: the next prompts of the run's data, in their one order.
  mutating func next(_ count: Int, from prompts: (Int) throws -> [Prompt]) throws -> [DrawnGroup]
  /// How the samples of a drawn group go.
  func plan(for group: DrawnGroup) throws -> CompletionPlan
  func finished(_ group: FinishedGroup) throws -> GroupDecision
  /// The step was trained on.
  /// - Parameter groups: all of its groups, by ordinal, with the rewards of those that were trained on.
  mutating func concluded(_ groups: [FinishedGroup])
}

extension PromptScheduler {
  public static var parameters: [Parameter] { [] }
  public static var readsRewards: Bool { false }
  public static func validate(_ values: ParameterValues, groupSize: Int) throws {}
  public var ordinalsPerPrompt: Int { 1 }
  public var maximumDraws: Int { 1 }
  public func finished(_ group: FinishedGroup) throws -> GroupDecision { .train }
  public mutating func concluded(_ groups: [FinishedGroup]) {}
}

/// The state of a scheduler without one.
public struct NoState: Codable, Sendable, Equatable {
  public init() {}
}
