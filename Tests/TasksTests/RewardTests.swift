import Parameters
import Testing
import Verifier

@testable import Tasks

@Suite struct RewardTests {
  /// Two groups, of which the first is mostly right: its correct members lose the more the longer they are. With a weight of 1 beside
  /// correctness the sum is what `GatedLength` says.
  @Test func gatedLengthActsOnMostlyRightGroups() throws {
    let correct = [[true, true, true, false], [true, false, false, false]]
    let lengths = [[4, 8, 12, 9], [7, 3, 3, 3]]
    let sum = try RewardSum(weights: ["exact": 1, "gated_length": 1])
    let queries = correct.indices.flatMap { group in
      correct[group].indices.map {
        RewardQuery(
          answer: "5", completion: Completion(text: correct[group][$0] ? "5" : "4", length: lengths[group][$0]),
          group: group, sampleIndex: $0)
      }
    }
    let expected = try GatedLength().rewards(correct: correct, lengths: lengths).joined()
    let totals = try sum.judge(queries).map { Double($0.total ?? .nan) }
    for (total, expected) in zip(totals, expected) { #expect(abs(total - expected) < 1e-6) }
    #expect(totals[0] > totals[1] && totals[1] > totals[2] && totals[4] == 1 && totals[7] == 0)
    #expect(!RewardRegistry.correctness.contains("gated_length"))
  }

  @Test func exactIsLetterForLetterAndFinished() {
    let exact = ExactReward()
    #expect(exact.reward(completion: Completion(text: " 0056\n"), answer: "0056") == 1)
    #expect(exact.reward(completion: Completion(text: "56"), answer: "0056") == 0)
    #expect(exact.reward(completion: Completion(text: "0056", finishReason: .length), answer: "0056") == 0)
  }

  @Test func mathAndFormat() {
    #expect(MathReward().reward(completion: Completion(text: "\\boxed{1/2}"), answer: "0.5") == 1)
    // Numbers among the thoughts are not an answer.
    #expect(MathReward().reward(completion: Completion(text: "", fullText: "so 18"), answer: "18") == 0)
    #expect(FormatReward().reward(completion: Completion(text: " x"), answer: "") == 1)
    #expect(FormatReward().reward(completion: Completion(text: " \n"), answer: "") == 0)
    #expect(FormatReward().reward(completion: Completion(text: "x", finishReason: .length), answer: "") == 0)
  }

  @Test func lengthPenaltyIsPiecewiseLinear() throws {
    let penalty = OverlongReward(ParameterValues(["overlong_buffer": .integer(20)]))
    let values = [0, 80, 85, 100, 101].map {
      penalty.reward(
        RewardQuery(answer: "", completion: Completion(text: "", length: $0), longestCompletion: 100))
    }
    #expect(values == [0, 0, -0.25, -1, -1])
    try penalty.validate(longestCompletion: 20)
    #expect(throws: ParameterError.self) { try penalty.validate(longestCompletion: 19) }
    #expect(throws: ParameterError.self) {
      try OverlongReward(ParameterValues(["overlong_buffer": .integer(0)])).validate(longestCompletion: 10)
    }
  }

  @Test func weightedSumKeepsTheParts() throws {
    let rewards = try RewardSum(weights: ["math": 1, "format": 0.25, "exact": -2, "overlong": 0])
    #expect(rewards.names == ["math", "exact", "format"])
    let judged = try rewards.judge([RewardQuery(answer: "5", completion: Completion(text: "5.0"))])
    #expect(judged == [JudgedCompletion(total: 1.25, values: [1, 0, 1], isCorrect: false)])
    #expect(throws: ParameterError.self) { try RewardSum(weights: ["math": .nan]) }
    let unknown = #expect(throws: ParameterError.self) { try RewardSum(weights: ["meth": 1]) }
    #expect(unknown?.message.contains("did you mean 'math'?") == true)
  }

  @Test func correctnessIsThatOfTheWeightedRewardsOrOfTheJudge() throws {
    let queries = ["5.0", "5", "6"].map { RewardQuery(answer: "5", completion: Completion(text: $0)) }
    func correct(_ weights: [String: Double], judge: String = "auto") throws -> [Bool?] {
      try RewardSum(weights: weights, judge: judge).correctness(queries)
    }
    #expect(try correct(["math": 1]) == [true, true, false])
    #expect(try correct(["exact": 1]) == [false, true, false])
    // Both must agree; shaping says nothing.
    #expect(try correct(["math": 1, "exact": 1]) == [false, true, false])
    #expect(try correct(["format": 1]) == [true, true, false])
    #expect(try correct(["format": 1], judge: "exact") == [false, true, false])
    #expect(throws: ParameterError.self) { try correct(["math": 1], judge: "format") }
  }

  @Test func everyRewardKeepsItsKeysApart() {
    let keys = RewardRegistry.types.flatMap { type in [type.name] + type.parameters.map(\.name) }
    #expect(Set(keys).count == keys.count)
    for type in RewardRegistry.types {
      #expect(type.parameters.allSatisfy { $0.name.hasPrefix(type.name + "_") }, "\(type.name)")
      #expect(type.weight.name == type.name)
    }
  }
}

@Suite struct EstimatorTests {
  /// All subsets of size k, counted one by one.
  private func naive(n: Int, c: Int, k: Int) -> Double {
    var hits = 0
    var all = 0
    for mask in 0..<(1 << n) where mask.nonzeroBitCount == k {
      all += 1
      if mask & ((1 << c) - 1) != 0 { hits += 1 }
    }
    return Double(hits) / Double(all)
  }

  @Test func passAtKCountsSubsets() throws {
    for n in 1...9 {
      for c in 0...n {
        for k in 1...n {
          #expect(abs(try passAtK(n: n, c: c, k: k) - naive(n: n, c: c, k: k)) < 1e-12)
        }
      }
    }
    #expect(abs(try passAtK(n: 10_000, c: 1, k: 100) - 0.01) < 1e-9)
    #expect(throws: TaskError.self) { try passAtK(n: 4, c: 1, k: 5) }
    #expect(throws: TaskError.self) { try passAtK(n: 4, c: 5, k: 1) }
    #expect(throws: TaskError.self) { try passAtK(n: 4, c: 1, k: 0) }
  }

  @Test func majority() throws {
    let answers = ["1", "2", "2", "3", "1", "1"]
    let correct = answers.map { $0 == "2" }
    #expect(try majorityAtK(answers: answers, isCorrect: correct, k: 3) == 0.5)
    #expect(try majorityAtK(answers: answers, isCorrect: correct, k: 6) == 0)
    // Two classes tie: half a vote.
    #expect(try majorityAtK(answers: ["1", "2"], isCorrect: [true, false], k: 2) == 0.5)
    #expect(try majorityAtK(answers: [nil, nil, "2"], isCorrect: [false, false, true], k: 3) == 1)
    #expect(try majorityAtK(answers: [nil], isCorrect: [false], k: 1) == 0)
    #expect(
      try majorityAtK(
        answers: ["1/2", "0.5", "3"], isCorrect: [true, true, false], k: 3, areEqual: MathVerifier.areEqual) == 1)
    #expect(throws: TaskError.self) { try majorityAtK(answers: ["1"], isCorrect: [], k: 1) }
    #expect(throws: TaskError.self) { try majorityAtK(answers: ["1"], isCorrect: [true], k: 2) }
  }
}
