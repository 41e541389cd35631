import JSON
import Parameters
import Testing
import Trajectories

@testable import Tasks

/// Completions vote by what their reward compares, as it compares.
@Suite struct BallotTests {
  private let options: JSONObject = {
    var object = JSONObject()
    object["options"] = .array([.string("3 cm"), .string("4 cm"), .string("5 cm")])
    return object
  }()

  /// The votes of texts, as the numbers of their classes; nil: no vote.
  private func classes(
    _ weights: [String: Double], _ texts: [String], _ parameters: [String: ParameterValue] = [:],
    finish: FinishReason = .stop
  ) throws -> [Int?] {
    let ballot = try #require(try RewardSum(weights: weights, parameters: parameters).ballot)
    var known: [String] = []
    return texts.map { text in
      let query = RewardQuery(
        answer: "C", fields: options, completion: Completion(text: text, finishReason: finish))
      guard let vote = ballot.answer(query) else { return nil }
      if let index = known.firstIndex(where: { ballot.areEqual($0, vote) }) { return index }
      known.append(vote)
      return known.count - 1
    }
  }

  @Test func mathematicsVotesByValue() throws {
    #expect(try classes(["math": 1], ["\\boxed{1/2}", "It is 0.5.", "\\boxed{2}", ""]) == [0, 0, 1, nil])
    // Those for shaping have no say; where no reward judges answers it is math.
    #expect(try classes(["format": 1], ["\\boxed{1/2}", "It is 0.5."]) == [0, 0])
  }

  @Test func exactTextVotesLetterForLetter() throws {
    #expect(try classes(["exact": 1], ["red", " red\n", "Red", "0.5", "1/2", " "]) == [0, 0, 1, 2, 3, nil])
    #expect(try classes(["exact": 1], ["red"], finish: .length) == [nil])
  }

  @Test func choicesVoteByOption() throws {
    let texts = ["The answer is C.", "\\boxed{5 cm}", "\\boxed{c}", "\\boxed{B}", "\\boxed{7}", "no idea"]
    #expect(try classes(["choice": 1], texts) == [0, 0, 0, 1, nil, nil])
  }

  @Test func patternsVoteByWhatTheyTake() throws {
    let texts = ["RESULT: 0.5", "RESULT: 1/2", "RESULT:  0.5 ", "\\boxed{0.5}"]
    let expression = ["pattern_expression": ParameterValue.text("RESULT:([^\n]*)")]
    #expect(try classes(["pattern": 1], texts, expression) == [0, 0, 0, nil])
    let exact = expression.merging(["pattern_compare": .text("exact")]) { $1 }
    #expect(try classes(["pattern": 1], texts, exact) == [0, 1, 0, nil])
  }

  /// Somebody else's verdict does not say which answers are the same.
  @Test func aCommandHasNoVotes() throws {
    #expect(try RewardSum(weights: ["command": 1], parameters: ["command_line": .text("true")]).ballot == nil)
  }
}
