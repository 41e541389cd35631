import Parameters

@testable import Tasks

/// The length reward of Kimi k1.5 (arXiv 2501.12599): lambda = 1/2 - (length - shortest) / (longest - shortest) over
/// the group, in steps. A correct completion gets lambda, a wrong one min(0, lambda). A group of equal lengths gets 0.
public struct RelativeLengthReward: RewardFunction {
  public static let name = "relative_length"
  public static let summary =
    "Kimi k1.5's length reward: 1/2 for the shortest completion of a group, -1/2 for the longest."
  public static let parameters: [Parameter] = [
    .flag("relative_length_rewards_correct", true, "Whether correct completions may get more than 0.")
  ]
  public static let role = RewardRole.shaping
  public static let scope = RewardScope.group
  public static let readsCorrectness = true

  private let rewardsCorrect: Bool

  public init(_ values: ParameterValues) { rewardsCorrect = values.flag("relative_length_rewards_correct") }

  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    let lengths = queries.map(\.completion.length)
    guard let shortest = lengths.min(), let longest = lengths.max() else { return [] }
    return queries.map { query in
      guard let isCorrect = query.isCorrect else { return .notJudged(reason: "its answer was not judged") }
      guard longest > shortest else { return .value(0) }
      let lambda = 0.5 - Float(query.completion.length - shortest) / Float(longest - shortest)
      return .value(isCorrect && rewardsCorrect ? lambda : min(0, lambda))
    }
  }
}
