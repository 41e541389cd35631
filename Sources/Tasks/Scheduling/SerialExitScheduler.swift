import Parameters
import Trajectories

/// Serial early exits (S-GRPO, arXiv 2505.07686): one full thought a prompt; once it is there, `group_size` - 1 samples that replay
/// it up to a random cut, are told to stop thinking, and answer. All of them are one group.
///
/// The actions of an exit are its answer's tokens; the thought's steps count once, in the full sample.
public struct SerialExitScheduler: PromptScheduler {
  public static let name = "serial_exit"
  public static let summary =
    "one full thought, and `group_size` - 1 answers to cuts of it (S-GRPO; meant for `reward.serial_exit`)"
  public static let parameters: [Parameter] = [
    .text(
      "serial_exit_inducer", "\n\nTime is limited, stop thinking and start answering.\n", mayBeEmpty: true,
      "Text forced at a cut, before the end of thinking.")
  ]

  public static func validate(_ values: ParameterValues, groupSize: Int) throws {
    guard groupSize > 1 else {
      throw ParameterError("group_size: must be at least 2 when rollout.scheduler is serial_exit, got \(groupSize)")
    }
  }

  public var state = NoState()
  private let context: SchedulerContext
  /// What follows a cut thought.
  private let exit: CompletionPlan

  public init(_ values: ParameterValues, _ context: SchedulerContext) throws {
    self.context = context
    let inducer: [Int32]
    do { inducer = try context.encode(values.text("serial_exit_inducer")) } catch {
      throw ParameterError("serial_exit_inducer: \(error)")
    }
    exit = context.plan.exiting(saying: inducer + context.endOfThinkingTokens.prefix(1))
  }

  public var ordinalsPerPrompt: Int { context.groupSize }

  public var longestCompletion: Int {
    max(context.plan.longestCompletion, context.plan.thinkingBudget + exit.longestCompletion)
  }

  public mutating func next(_ count: Int, from prompts: (Int) throws -> [Prompt]) throws -> [DrawnGroup] {
    try prompts(count).map { DrawnGroup(prompt: $0, sampleCount: 1) }
  }

  public func plan(for group: DrawnGroup) -> CompletionPlan { context.plan }

  public func finished(_ group: FinishedGroup) -> GroupDecision {
    guard group.parent == nil, let full = group.samples.first else { return .train }
    let cuts = cuts(of: full, ordinal: group.ordinal)
    return cuts.isEmpty ? .train : .hold(cuts.map { ChildGroup(plan: exit.replaying(full.prefix($0))) })
  }

  /// Where a thought is cut, ascending: uniform over its steps but the last, without repetition, from the run's seed and the group's
  /// ordinal alone. Fewer than wanted where the thought is too short.
  private func cuts(of full: Trajectory, ordinal: Int) -> [Int] {
    let length = full.thinkingCount(endTokens: context.endOfThinkingTokens)
    guard length > 1 else { return [] }
    var generator = SplitMix64(seed: context.seed ^ 0x5345_5249_414C, index: UInt64(ordinal))
    var places = Array(1..<length)
    let count = min(context.groupSize - 1, places.count)
    for index in 0..<count {
      places.swapAt(index, index + Int(generator.below(UInt64(places.count - index))))
    }
    return places.prefix(count).sorted()
  }
}
