import Parameters
import Testing

@testable import Tasks

@Suite struct RewardExampleTests {
  private func make(_ given: [String: ParameterValue] = [:]) throws -> any RewardFunction {
    let registry = PartRegistry<any RewardFunction>(
      "reward",
      ([RelativeLengthReward.self] as [any RewardFunction.Type]).map { type in
        .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
      })
    return try registry.make(registry.describe("relative_length", given))
  }

  private func query(_ length: Int, _ isCorrect: Bool?) -> RewardQuery {
    RewardQuery(answer: "5", completion: Completion(text: "5", length: length), isCorrect: isCorrect)
  }

  @Test func shorterIsBetter() throws {
    let group = [query(10, true), query(20, false), query(30, true), query(10, false), query(15, true)]
    #expect(try make().rewards(for: group) == [.value(0.5), .value(0), .value(-0.5), .value(0), .value(0.25)])
    #expect(
      try make(["relative_length_rewards_correct": .flag(false)]).rewards(for: group)
        == [.value(0), .value(0), .value(-0.5), .value(0), .value(0)])
    #expect(try make().rewards(for: [query(7, true), query(7, false)]) == [.value(0), .value(0)])
    #expect(try make().rewards(for: []) == [])
  }

  @Test func whatWasNotJudgedHasNoReward() throws {
    let verdicts = try make().rewards(for: [query(10, nil), query(20, true)])
    #expect(verdicts == [.notJudged(reason: "its answer was not judged"), .value(-0.5)])
    // Its keys begin with its name, and its weight is 0 unless a run gives one.
    #expect(RelativeLengthReward.parameters.allSatisfy { $0.name.hasPrefix("relative_length") })
    #expect(RelativeLengthReward.weight.defaultValue == .number(0))
  }
}
