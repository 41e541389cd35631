import Parameters

/// GRPO-lambda's gated length penalty as a reward (`GatedLength`): minus strength sigmoid(z) of a correct member's length in those
/// groups of the step that are mostly right, 0 elsewhere. Beside a correctness reward, both of weight 1, the sum is the method's.
public struct GatedLengthReward: RewardFunction {
  public static let name = "gated_length"
  public static let summary =
    "GRPO-lambda's penalty for length, for correct answers in the groups of the step that are mostly right: 0 to minus its strength."
  public static let parameters: [Parameter] = [
    .number("gated_length_share", 0.5, .between(0, 1), "Share of the step's groups that `gated_length` penalises."),
    .number("gated_length_strength", 0.2, .atLeast(0), "Largest penalty of `gated_length`."),
  ]
  public static let role = RewardRole.shaping
  public static let scope = RewardScope.step
  public static var weight: Parameter { .number(name, 0, .atLeast(0), summary) }
  public static let readsCorrectness = true

  public let gate: GatedLength

  public init(_ values: ParameterValues) throws {
    gate = GatedLength(
      share: values.number("gated_length_share"), strength: values.number("gated_length_strength"))
  }

  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    var (order, members): ([Int], [Int: [Int]]) = ([], [:])
    for (index, query) in queries.enumerated() where query.isCorrect != nil {
      if members[query.group] == nil { order.append(query.group) }
      members[query.group, default: []].append(index)
    }
    let groups = order.map { members[$0] ?? [] }
    let correct = groups.map { $0.map { queries[$0].isCorrect == true } }
    let rewards = try gate.rewards(
      correct: correct, lengths: groups.map { $0.map { queries[$0].completion.length } })
    var verdicts = [RewardVerdict](
      repeating: .notJudged(reason: "whether the answer is correct was not judged"), count: queries.count)
    for (group, (values, right)) in zip(groups, zip(rewards, correct)) {
      for (index, (value, isRight)) in zip(group, zip(values, right)) {
        verdicts[index] = .value(Float(value - (isRight ? 1 : 0)))
      }
    }
    return verdicts
  }
}
