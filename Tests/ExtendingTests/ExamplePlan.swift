import Parameters
import Trajectories

@testable import Tasks

extension CompletionPlan {
  /// The same course after words that are fed and never scored.
  public func hinted(_ words: [Int32]) -> CompletionPlan {
    CompletionPlan((words.isEmpty ? [] : [.force(words)]) + stages)
  }
}

/// A hint where it is needed: a prompt that no sample of its last group solved gets words before the thinking when it
/// is drawn again.
public struct RetryHintScheduler: PromptScheduler {
  public static let name = "retry_hint"
  public static let summary = "a hint before the thinking for prompts that no sample solved the last time"
  public static let parameters: [Parameter] = [
    .text("retry_hint_words", "Think step by step.\n", "Text forced before the thinking.")
  ]

  /// What a checkpoint keeps.
  public struct State: Codable, Sendable {
    /// Groups in a row that earned nothing, by the prompt's id; absent: none.
    var failures: [String: Int] = [:]
  }

  public var state = State()
  private let context: SchedulerContext
  private let hinted: CompletionPlan

  public init(_ values: ParameterValues, _ context: SchedulerContext) throws {
    self.context = context
    do { hinted = context.plan.hinted(try context.encode(values.text("retry_hint_words"))) } catch {
      throw ParameterError("retry_hint_words: \(error)")
    }
  }

  public var longestCompletion: Int { max(context.plan.longestCompletion, hinted.longestCompletion) }

  public mutating func next(_ count: Int, from prompts: (Int) throws -> [Prompt]) throws -> [DrawnGroup] {
    try prompts(count).map { prompt in
      DrawnGroup(
        prompt: prompt, sampleCount: context.groupSize, note: state.failures[prompt.id] == nil ? "" : "hint")
    }
  }

  public func plan(for group: DrawnGroup) -> CompletionPlan { group.note == "hint" ? hinted : context.plan }

  public mutating func concluded(_ groups: [FinishedGroup]) {
    for group in groups {
      let rewards = group.samples.compactMap(\.reward)
      guard !rewards.isEmpty else { continue }
      let isSolved = rewards.contains { $0 > 0 }
      state.failures[group.prompt.id] = isSolved ? nil : state.failures[group.prompt.id, default: 0] + 1
    }
  }
}
