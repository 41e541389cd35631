import Parameters
import Trajectories

/// Every prompt once an epoch, each as one group of `group_size` samples of the usual plan.
public struct PlainScheduler: PromptScheduler {
  public static let name = "plain"
  public static let summary = "every prompt as one group of `group_size` samples"

  public var state = NoState()
  private let context: SchedulerContext

  public init(_ values: ParameterValues, _ context: SchedulerContext) { self.context = context }

  public var longestCompletion: Int { context.plan.longestCompletion }

  public mutating func next(_ count: Int, from prompts: (Int) throws -> [Prompt]) throws -> [DrawnGroup] {
    try prompts(count).map { DrawnGroup(prompt: $0, sampleCount: context.groupSize) }
  }

  public func plan(for group: DrawnGroup) -> CompletionPlan { context.plan }
}
