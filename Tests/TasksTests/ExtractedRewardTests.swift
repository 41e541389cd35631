import JSON
import Parameters
import Testing

@testable import Tasks

/// Rewards that take the answer in a way of the user's own: by a pattern, by a choice.
@Suite struct ExtractedRewardTests {
  private func values(
    _ name: String, _ parameters: [String: ParameterValue], _ queries: [(text: String, answer: String)],
    fields: JSONObject? = nil
  ) throws -> [RewardVerdict] {
    let reward = try RewardRegistry.parts.make(RewardRegistry.parts.describe(name, parameters))
    try reward.validate(longestCompletion: 100)
    return try reward.rewards(
      for: queries.map { RewardQuery(answer: $0.answer, fields: fields, completion: Completion(text: $0.text)) })
  }

  private func fields(_ json: String) throws -> JSONObject {
    try #require(JSONValue(parsing: Array(json.utf8)).objectValue)
  }

  private func isNotJudged(_ verdict: RewardVerdict, _ reason: String) -> Bool {
    if case .notJudged(let why) = verdict { return why.contains(reason) }
    return false
  }

  @Test func patternsTakeTheirGroup() throws {
    let queries = [
      ("RESULT<1/2> or RESULT<0.5>", "\\frac{1}{2}"), ("RESULT<3>, no, RESULT<4>", "3"), ("the result is 3", "3"),
      ("RESULT<3>", "so\n#### 3"),
    ]
    let expression: [String: ParameterValue] = ["pattern_expression": .text("RESULT<([^>]*)>")]
    #expect(try values("pattern", expression, queries) == [.value(1), .value(0), .value(0), .value(1)])
    let first = expression.merging(["pattern_take": .text("first")]) { $1 }
    #expect(try values("pattern", first, queries) == [.value(1), .value(1), .value(0), .value(1)])
    let exact = expression.merging(["pattern_compare": .text("exact")]) { $1 }
    #expect(
      try values("pattern", exact, [("RESULT< 0.50 >", "0.50"), ("RESULT<0.5>", "0.50")]) == [.value(1), .value(0)])
    // Without a group it is the whole match; a group that took no part is no answer; offsets behind an emoji hold.
    #expect(try values("pattern", ["pattern_expression": .text("[0-9]+$")], [("👩‍🚀 12 of 34", "34")]) == [.value(1)])
    #expect(try values("pattern", ["pattern_expression": .text("x(1)?")], [("x", "1")]) == [.value(0)])
  }

  @Test func patternsThatTakeTooLongJudgeNothing() throws {
    let endless = String(repeating: "a", count: 64) + "b"
    let verdicts = try values("pattern", ["pattern_expression": .text("(a+)+$")], [(endless, "1"), ("aa", "aa")])
    #expect(isNotJudged(verdicts[0], "too many steps") && verdicts[1] == .value(1))
  }

  @Test func patternsAreChecked() {
    for (text, reason) in [("", "must be a regular expression"), ("(a", "is no regular expression")] {
      let error = #expect(throws: ParameterError.self) {
        try RewardSum(weights: ["pattern": 1], parameters: ["pattern_expression": .text(text)])
      }
      #expect(error?.message.hasPrefix("pattern_expression: ") == true && error?.message.contains(reason) == true)
    }
  }

  @Test(arguments: [
    #"{"options": ["3 cm", "4 cm", "5 cm", "6 cm"]}"#,
    #"{"options": {"A": "3 cm", "B": "4 cm", "C": "5 cm", "D": "6 cm"}}"#,
    #"{"options": {"text": ["3 cm", "4 cm", "5 cm", "6 cm"], "label": ["A", "B", "C", "D"]}}"#,
  ])
  func choicesByLetterAndText(_ json: String) throws {
    let right = [
      "The answer is (C).", "\\boxed{C}", "So it is 5 cm.\n\nAnswer: C) 5 cm", "The answer is 5 cm", "**C**",
      "the answer is c",
    ]
    let wrong = [
      "The answer is B.", "\\boxed{4 cm}", "C or D, I cannot say", "", "The answer is 7 cm", "Answer: E",
    ]
    for answer in ["C", "(C)", "5 cm"] {
      for (texts, value) in [(right, Float(1)), (wrong, 0)] {
        for text in texts {
          #expect(try values("choice", [:], [(text, answer)], fields: fields(json)) == [.value(value)], "\(text)")
        }
      }
    }
    let index: [String: ParameterValue] = ["choice_reference": .text("index_from_0")]
    #expect(try values("choice", index, [("C", "2"), ("C", "3")], fields: fields(json)) == [.value(1), .value(0)])
    let one: [String: ParameterValue] = ["choice_reference": .text("index_from_1")]
    #expect(try values("choice", one, [("C", "3"), ("A", "1")], fields: fields(json)) == [.value(1), .value(1)])
  }

  @Test func choicesNeedOptionsThatFit() throws {
    // Without options there are the letters alone.
    #expect(try values("choice", [:], [("The answer is B", "B"), ("The answer is B", "C")]) == [.value(1), .value(0)])
    #expect(isNotJudged(try values("choice", [:], [("B", "5 cm")])[0], "neither a letter nor the text"))
    let options = try fields(#"{"choices": ["a", "b"], "options": 3}"#)
    #expect(isNotJudged(try values("choice", [:], [("A", "A")], fields: options)[0], "holds no options"))
    let named: [String: ParameterValue] = ["choice_field": .text("choices")]
    #expect(try values("choice", named, [("B", "B")], fields: options) == [.value(1)])
    #expect(isNotJudged(try values("choice", named, [("C", "C")], fields: options)[0], "neither a letter"))
    let index = named.merging(["choice_reference": .text("index_from_0")]) { $1 }
    #expect(
      isNotJudged(try values("choice", index, [("B", "2")], fields: options)[0], "no number of an option (0 to 1)"))
    // The two options of one text: naming it chooses neither.
    let twice = try fields(#"{"options": ["5", "5", "6"]}"#)
    #expect(
      try values("choice", [:], [("The answer is 5", "A"), ("A", "A")], fields: twice) == [.value(0), .value(1)])
    // A run names such lines when it starts.
    let prompts = [
      Prompt(id: "p", content: .text("?"), answer: "C", line: 4, fields: options),
      Prompt(id: "q", content: .text("?"), answer: "B", line: 5, fields: options),
    ]
    let sum = try RewardSum(weights: ["choice": 1], parameters: named)
    #expect(sum.unreadableReferences(prompts).map(\.line) == [4])
  }
}
