import Parameters
import Testing
import TestSupport
import Thinking
import Trajectories

@testable import Tasks

@Suite struct SerialExitTests {
  /// Computed from the rule in S-GRPO (arXiv 2505.07686): a correct exit has 1 / 2^(n - 1), n the correct exits so far with itself.
  @Test func theRewardHalvesWithEachCorrectExit() {
    let (yes, no) = (true, false)
    func rewards(_ correct: [Bool], by: SerialExitReward.DecayBy = .correct) -> [Double] {
      SerialExitReward.rewards(correct: correct, decayBy: by)
    }
    #expect(rewards([yes, yes, yes, yes, yes]) == [1, 0.5, 0.25, 0.125, 0.0625])
    #expect(rewards([no, yes, yes, no, yes, yes, no, yes, no]) == [0, 1, 0.5, 0, 0.25, 0.125, 0, 0.0625, 0])
    #expect(rewards([no, no, no]) == [0, 0, 0])
    #expect(rewards([yes, yes, yes, no, no]) == [1, 0.5, 0.25, 0, 0])
    #expect(rewards([no, no, no, no, yes, no], by: .index) == [0, 0, 0, 0, 0.0625, 0])
    #expect(SerialExitReward.rewards(correct: [yes, yes], decay: 4) == [1, 0.25])
  }

  @Test func exitsAreOrderedByTheirThoughtWithinAGroup() throws {
    let sum = try RewardSum(weights: ["math": 0, "serial_exit": 1], judge: "exact")
    // Two groups, siblings in no order: (group, thinking length, answer).
    let exits = [(1, 9, "5"), (2, 4, "5"), (1, 3, "5"), (2, 7, "4"), (1, 6, "4"), (2, 2, "5")]
    let judged = try sum.judge(
      exits.enumerated().map { index, exit in
        RewardQuery(
          answer: "5", completion: Completion(text: exit.2, thinkingLength: exit.1), group: exit.0, sampleIndex: index)
      })
    #expect(judged.map(\.total) == [0.5, 0.5, 1, 0, 0, 1])
    #expect(judged.map(\.isCorrect) == [true, true, true, false, false, true])
    // It says nothing about correctness.
    #expect(!RewardRegistry.correctness.contains("serial_exit"))
  }

  /// An exit whose correctness is not known has no reward, and the exits after it do as if it were not there.
  @Test func anUnjudgedExitIsLeftOut() throws {
    let reward = try SerialExitReward(
      ParameterValues(["serial_exit_decay": .number(2), "serial_exit_decay_by": .text("correct")]))
    let verdicts = try reward.rewards(
      for: [true, nil, true].enumerated().map {
        RewardQuery(answer: "", completion: Completion(text: "", thinkingLength: $0), isCorrect: $1)
      })
    #expect(verdicts[0] == .value(1) && verdicts[2] == .value(0.5))
    guard case .notJudged = verdicts[1] else {
      Issue.record("judged")
      return
    }
  }

  private func scheduler(groupSize: Int = 5, inducer: String = "ab") throws -> any PromptScheduler {
    try SchedulerRegistry.make(
      SchedulerRegistry.describe("serial_exit", ["serial_exit_inducer": .text(inducer)]),
      SchedulerContext(
        plan: CompletionPlan(
          thinking: 12, endOfThinkingTokens: [7], answerPrefix: [3], maxAnswerTokens: 4, stopTokens: [9]),
        policy: ThinkingPolicy(), groupSize: groupSize, seed: 1, endOfThinkingTokens: [7],
        encode: { text in
          guard text.allSatisfy({ "ab".contains($0) }) else { throw ParameterError("'\(text)' cannot be spelt") }
          return text.map { $0 == "a" ? 11 : 12 }
        }))
  }

  private func thought(_ length: Int, isSoft: Bool = true) -> FinishedGroup {
    var segments: [Segment] = [.discrete(DiscreteSegment(tokenIDs: [20, 9], logProbs: [-1, -1], temperature: 1))]
    if isSoft {
      var soft = SoftSegment()
      for step in 0..<length {
        soft.tokenIDs.append([Int32(step), 50])
        soft.values.append([0, -1])
        soft.logProbs.append(-1)
      }
      segments = [.soft(soft), .discrete(DiscreteSegment(tokenIDs: [7], logProbs: [-1])), .forced([3])] + segments
    } else {
      segments =
        [.discrete(DiscreteSegment(tokenIDs: (0..<length).map { 30 + Int32($0) } + [7])), .forced([3])] + segments
    }
    return FinishedGroup(
      ordinal: 40, role: .train, prompt: Prompt(id: "p", content: .text("?"), answer: ""),
      samples: [
        Trajectory(
          promptID: "p", groupID: 40, sampleIndex: 0, policy: ThinkingPolicy(kind: isSoft ? .gumbel : .discrete),
          policyVersion: 0, prompt: [1], segments: segments, finishReason: .stop)
      ])
  }

  @Test func aThoughtIsCutAndAnswered() throws {
    let scheduler = try scheduler()
    // The longest exit replays the whole budget: words, end, prefix and answer come on top.
    #expect(scheduler.ordinalsPerPrompt == 5 && scheduler.longestCompletion == 12 + 3 + 1 + 4)
    for isSoft in [true, false] {
      guard case .hold(let children) = try scheduler.finished(thought(10, isSoft: isSoft)) else {
        Issue.record("no exits")
        return
      }
      let cuts = children.compactMap { child -> Int? in
        guard case .replay(let steps) = child.plan.stages[0] else { return nil }
        if case .tokens(let tokenIDs) = steps { #expect(tokenIDs == (0..<Int32(steps.count)).map { 30 + $0 }) }
        return steps.count
      }
      #expect(cuts.count == 4 && cuts == Set(cuts).sorted() && cuts.allSatisfy { (1...9).contains($0) })
      for child in children {
        #expect(child.sampleCount == 1 && child.joinsParent && child.role == .train)
        #expect(
          Array(child.plan.stages[1...]) == [
            .force([11, 12, 7]), .force([3]), .answer(DiscreteSampling(), budget: 4, stops: [9]),
          ])
        #expect(child.plan.longestCompletion <= scheduler.longestCompletion)
      }
      // The same cuts whenever it is asked.
      #expect(try scheduler.finished(thought(10, isSoft: isSoft)) == .hold(children))
    }
    // A child has no children; a thought that is too short has fewer, or none.
    var child = thought(10)
    child.parent = 39
    #expect(try scheduler.finished(child) == .train)
    guard case .hold(let few) = try scheduler.finished(thought(3)) else {
      Issue.record("no exits")
      return
    }
    #expect(few.count == 2)
    #expect(try scheduler.finished(thought(1)) == .train)
  }

  @Test func badSettingsAreNamed() throws {
    let inducer = #expect(throws: ParameterError.self) { try scheduler(inducer: "xyz") }
    #expect(inducer?.message.hasPrefix("serial_exit_inducer: ") == true)
    let size = #expect(throws: ParameterError.self) { try scheduler(groupSize: 1) }
    #expect(size?.message.hasPrefix("group_size: ") == true)
    let unknown = #expect(throws: ParameterError.self) { try SchedulerRegistry.describe("serial_exits", [:]) }
    #expect(unknown?.message.contains("did you mean 'serial_exit'?") == true)
  }
}
