import Parameters
import Trajectories

/// Dynamic sampling (DAPO, arXiv 2503.14476): a group whose rewards are all equal has no gradient and is dropped; further prompts
/// are drawn in its place until the step is full, or has drawn `dynamic_sampling_maximum_draws` times.
public struct DynamicSamplingScheduler: PromptScheduler {
  public static let name = "dynamic_sampling"
  public static let summary =
    "as plain, but groups whose rewards are all equal are dropped and other prompts drawn in their place (DAPO)"
  public static let parameters: [Parameter] = [
    .integer(
      "dynamic_sampling_maximum_draws", 10, 1...1000,
      "`dynamic_sampling` only: draws of a step; after the last one the step is trained on as it is.")
  ]
  public static let readsRewards = true

  public static func validate(_ values: ParameterValues, groupSize: Int) throws {
    guard groupSize > 1 else {
      throw ParameterError(
        "group_size: must be at least 2 when rollout.scheduler is dynamic_sampling, got \(groupSize)")
    }
  }

  public var state = NoState()
  public let maximumDraws: Int
  private let context: SchedulerContext

  public init(_ values: ParameterValues, _ context: SchedulerContext) {
    self.context = context
    maximumDraws = values.integer("dynamic_sampling_maximum_draws")
  }

  public var longestCompletion: Int { context.plan.longestCompletion }

  public mutating func next(_ count: Int, from prompts: (Int) throws -> [Prompt]) throws -> [DrawnGroup] {
    try prompts(count).map { DrawnGroup(prompt: $0, sampleCount: context.groupSize) }
  }

  public func plan(for group: DrawnGroup) -> CompletionPlan { context.plan }

  public func finished(_ group: FinishedGroup) -> GroupDecision {
    let rewards = group.samples.compactMap(\.reward)
    return rewards.contains { $0 != rewards[0] } ? .train : .drop
  }
}
