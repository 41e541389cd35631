import Testing
import Verifier

@testable import Tasks

@Suite struct NotJudgedTests {
  @Test(arguments: ["", "  ", "?", "\\frac{1}{0}", "\\frac{1}{", "(1, 2", "5 or", "1e99", "\\boxed{}", "...", "2 3"])
  func referenceCannotBeRead(_ answer: String) throws {
    let found = MathVerifier().explain("\\boxed{5}", answer: answer)
    if answer == "5 or" {
      #expect(found.verdict == .correct)
    } else {
      #expect(found.verdict == .notJudged && found.reason.contains("reference"), "\(answer): \(found)")
      #expect(MathVerifier.fault(inReference: answer) != nil)
      // Not even its own spelling is rewarded.
      #expect(!MathVerifier().isCorrect("\\boxed{\(answer)}", answer: answer))
    }
  }

  @Test(arguments: [
    "5", "\\text{east}", "x^2 + 1", "\\mathbb{R} \\setminus \\{0\\}", "\\sum_{k=1}^n k^2", "(C)", "#### 18",
  ])
  func referenceCanBeRead(_ answer: String) {
    #expect(MathVerifier.fault(inReference: answer) == nil)
    #expect(MathVerifier().isCorrect("\\boxed{\(answer == "#### 18" ? "18" : answer)}", answer: answer))
  }

  @Test func runsNameTheLines() throws {
    let prompts = [
      Prompt(id: "a", content: .text("q"), answer: "5", line: 1),
      Prompt(id: "b", content: .text("q"), answer: "1/0", line: 3),
    ]
    let rewards = try RewardSum(weights: ["format": 1, "math": 1])
    let found = rewards.unreadableReferences(prompts)
    #expect(found.map(\.line) == [3] && found[0].reason == "it divides by zero")
    let notice = try #require(UnreadableReference.notice(found, path: "p.jsonl", count: 2))
    #expect(notice.hasPrefix("p.jsonl: 1 of 2 reference answers cannot be read") && notice.contains("line 3: \"1/0\""))
    #expect(UnreadableReference.notice([], path: "p.jsonl", count: 2) == nil)
    #expect(try RewardSum(weights: ["exact": 1]).unreadableReferences(prompts).isEmpty)
    // Such a sample is not judged: neither wrong nor rewarded.
    let judged = try rewards.judge([RewardQuery(answer: "1/0", completion: Completion(text: "\\boxed{2}"))])
    #expect(judged[0].total == nil && judged[0].values == [nil, 1] && judged[0].reason?.contains("zero") == true)
  }

  @Test func explanationsSayWhy() {
    let found = MathVerifier().explain("The answer is 9 \\text{ cm}.", answer: "9 \\text{ m}")
    #expect(found.verdict == .wrong && found.reason == "the values differ: one is in cm, the other in m")
    #expect(found.rule == .phrase && found.completionReading == "9 [cm]" && found.referenceReading == "9 [m]")
    #expect(MathVerifier().explain("I do not know.", answer: "5").reason == "the completion comes to no answer")
    #expect(MathVerifier().explain("\\boxed{5 \\text{ or more}}", answer: "5").verdict == .wrong)
  }

  /// Sets of sets are compared by their canonical keys, not each with each.
  @Test func nestedSets() {
    func set(_ last: Int, reversed: Bool) -> String {
      let elements = (100...162).map(String.init) + ["\(last)"]
      return "\\{\((reversed ? elements.reversed() : elements).joined(separator: ", "))\\}"
    }
    let first = (0..<48).map { set(900 + $0, reversed: false) }.joined(separator: ", ")
    let second = (0..<48).reversed().map { set(900 + $0, reversed: true) }.joined(separator: ", ")
    #expect(MathVerifier.areEqual("\\{\(first)\\}", "\\{\(second)\\}"))
    #expect(!MathVerifier.areEqual("\\{\(first)\\}", "\\{\(second.replacing("900", with: "899"))\\}"))
  }
}
