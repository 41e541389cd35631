import Testing
import TestSupport
import Thinking
import Trajectories

@testable import Training

struct MicroBatchesTests {
  private func trajectories(_ count: Int, seed: UInt64) -> [Trajectory] {
    var random = SeededRandom(seed)
    return (0..<count).map { index in
      let prompt = Int32(random.next() % 5)
      let length = Int(random.next() % 12)
      return Trajectory(
        promptID: "\(prompt)", groupID: Int(prompt), sampleIndex: index, policy: ThinkingPolicy(kind: .discrete),
        policyVersion: 0, prompt: [Int32](repeating: prompt, count: 1 + 3 * Int(prompt)),
        segments: length == 0
          ? [] : [.discrete(DiscreteSegment(tokenIDs: [Int32](repeating: 1, count: length)))], finishReason: .stop)
    }
  }

  /// Rows of one pass, counted from the definition: each prompt once, each completion but its last step.
  private func rows(_ pass: [Int], _ all: [Trajectory]) -> Int {
    Set(pass.map { all[$0].prompt }).reduce(0) { $0 + $1.count }
      + pass.reduce(0) { $0 + max(0, all[$1].completionCount - 1) }
  }

  @Test(arguments: 0..<20)
  func partitionWithinTheBudgetFamiliesTogether(_ seed: UInt64) {
    let all = trajectories(40, seed: seed)
    for budget in [-5, 0, 1, 10, 25, 60, 10_000] {
      let passes = microBatches(all, tokenBudget: budget)
      #expect(passes == microBatches(all, tokenBudget: budget))
      #expect(passes.joined().sorted() == Array(all.indices))
      #expect(passes.allSatisfy { !$0.isEmpty })
      for pass in passes {
        #expect(rows(pass, all) <= budget || pass.count == 1)
        #expect(ScoringPlan(pass.map { all[$0] }).batch.rowCount == rows(pass, all), "prompts are adjacent and shared")
      }
      // A family is spread over consecutive passes only, in its own order.
      let order = Array(passes.joined())
      for prompt in Set(all.map(\.prompt)) {
        let places = order.indices.filter { all[order[$0]].prompt == prompt }
        #expect(places == Array(places[0]..<places[0] + places.count))
        #expect(places.map { order[$0] } == places.map { order[$0] }.sorted())
      }
    }
    #expect(microBatches(all, tokenBudget: 10_000).count == 1)
  }

  @Test func nothing() { #expect(microBatches([], tokenBudget: 100).isEmpty) }
}
