import Tasks

/// The steps whose prompts workers may already sample: the one that is trained next and up to `lead` after it (docs/asynchrony.md).
///
/// The scheduler draws groups a step at a time; ordinals follow the prompts, a block of `ordinalsPerPrompt` each. Step `s` is
/// trained on at version `s`, on its own groups, whatever was finished first: what a step holds depends on the seed alone.
struct StepQueue {
  struct Step: Sendable, Codable, Equatable {
    /// Steps before it; also the version of the weights when it is trained.
    var number: Int
    /// Ordinal of its first group.
    var firstOrdinal: Int
    /// Ordinals of a prompt: its drawn group's and its children's.
    var ordinalsPerPrompt: Int
    var groups: [DrawnGroup]
    /// Draws for which ordinals are reserved; nil, as in older checkpoints: one.
    var draws: Int?

    /// Prompts that the step may have.
    var places: Int { groups.count * (draws ?? 1) }
    var ordinals: Range<Int> { firstOrdinal..<firstOrdinal + places * ordinalsPerPrompt }
    /// Of a drawn group; those that replace others follow the first ones.
    func ordinal(_ index: Int) -> Int { firstOrdinal + index * ordinalsPerPrompt }
  }

  /// What a checkpoint keeps between two steps.
  struct State: Equatable {
    var prompts: PromptSourceState
    var scheduler: SchedulerRecord
    var nextOrdinal: Int
    /// Drawn ahead and not trained: they are sampled again as they were drawn.
    var pending: [Step]
  }

  private var source: PromptSource
  private(set) var scheduler: any PromptScheduler
  private var nextOrdinal: Int
  private var nextStep: Int
  private let promptsPerStep: Int
  private let lead: Int
  private let totalSteps: Int
  /// Drawn and not trained, in order.
  private(set) var pending: [Step]
  /// The first of `pending` that `draw` has not returned.
  private var undelivered = 0

  /// - Parameters:
  ///   - source: stands behind the prompts that were drawn.
  ///   - step: steps trained so far.
  ///   - pending: drawn before and not trained.
  ///   - lead: steps that are drawn ahead of the one that is trained: `max_staleness`.
  init(
    _ source: PromptSource, _ scheduler: any PromptScheduler, step: Int, nextOrdinal: Int, pending: [Step] = [],
    promptsPerStep: Int, lead: Int, totalSteps: Int
  ) {
    self.source = source
    self.scheduler = scheduler
    self.nextOrdinal = nextOrdinal
    self.pending = pending
    nextStep = step + pending.count
    self.promptsPerStep = promptsPerStep
    self.lead = max(0, lead)
    self.totalSteps = totalSteps
  }

  /// Draws what may be sampled now that `version` is current.
  ///
  /// - Returns: the steps that were not drawn before, in order.
  mutating func draw(at version: Int) throws -> [Step] {
    while nextStep < totalSteps, nextStep - version <= lead {
      let groups = try scheduler.next(promptsPerStep) { try source.next($0) }
      let step = Step(
        number: nextStep, firstOrdinal: nextOrdinal, ordinalsPerPrompt: max(1, scheduler.ordinalsPerPrompt),
        groups: groups, draws: scheduler.maximumDraws > 1 ? scheduler.maximumDraws : nil)
      nextOrdinal = step.ordinals.upperBound
      nextStep += 1
      pending.append(step)
    }
    defer { undelivered = pending.count }
    return Array(pending[undelivered...])
  }

  /// Draws groups in the place of some that were dropped of the current step. They are the next prompts after all that was drawn,
  /// and follow from the state and the number alone: a step asks when all of a draw is finished, in no worker's order.
  mutating func replace(_ count: Int) throws -> [DrawnGroup] { try scheduler.next(count) { try source.next($0) } }

  /// The step that is trained next; nil when none was drawn.
  var current: Step? { pending.first }

  /// `current` was trained.
  mutating func finish(_ groups: [FinishedGroup] = []) {
    if pending.isEmpty { return }
    pending.removeFirst()
    undelivered -= 1
    scheduler.concluded(groups)
  }

  var state: State {
    get throws {
      State(
        prompts: source.state, scheduler: try scheduler.record(), nextOrdinal: nextOrdinal, pending: pending)
    }
  }
}
