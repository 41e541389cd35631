import Tasks

/// The steps whose prompts workers may already sample: the one that is trained next and up to `lead` after it (docs/asynchrony.md).
///
/// Prompts are drawn in their one order, a step at a time; ordinals follow them. Step `s` is trained on at version `s`, on its
/// own groups, whatever was finished first: what a step holds depends on the seed alone.
struct StepQueue {
  struct Step: Sendable {
    /// Steps before it; also the version of the weights when it is trained.
    var number: Int
    /// Ordinal of its first group.
    var firstOrdinal: Int
    var prompts: [Prompt]
    /// Where the prompts stand behind it.
    var after: PromptSourceState

    var ordinals: Range<Int> { firstOrdinal..<firstOrdinal + prompts.count }
  }

  private var source: PromptSource
  private var nextOrdinal: Int
  private var nextStep: Int
  private let promptsPerStep: Int
  private let lead: Int
  private let totalSteps: Int
  /// Drawn and not trained, in order.
  private(set) var pending: [Step] = []

  /// - Parameters:
  ///   - source: stands behind the prompts of the last trained step.
  ///   - step: steps trained so far.
  ///   - lead: steps that are drawn ahead of the one that is trained: `max_staleness`.
  init(
    _ source: PromptSource, step: Int, nextOrdinal: Int, promptsPerStep: Int, lead: Int, totalSteps: Int
  ) {
    self.source = source
    self.nextOrdinal = nextOrdinal
    nextStep = step
    self.promptsPerStep = promptsPerStep
    self.lead = max(0, lead)
    self.totalSteps = totalSteps
  }

  /// Draws what may be sampled now that `version` is current.
  ///
  /// - Returns: the steps that were not drawn before, in order.
  mutating func draw(at version: Int) throws -> [Step] {
    var drawn: [Step] = []
    while nextStep < totalSteps, nextStep - version <= lead {
      let prompts = try source.next(promptsPerStep)
      drawn.append(
        Step(number: nextStep, firstOrdinal: nextOrdinal, prompts: prompts, after: source.state))
      nextOrdinal += prompts.count
      nextStep += 1
    }
    pending += drawn
    return drawn
  }

  /// The step that is trained next; nil when none was drawn.
  var current: Step? { pending.first }

  /// `current` was trained: what a checkpoint keeps is the place behind it. Steps that were drawn ahead are drawn again after a
  /// resumption, with the same ordinals: nothing of them was trained.
  mutating func finish() {
    if !pending.isEmpty { pending.removeFirst() }
  }
}
