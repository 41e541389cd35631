import Foundation
import Parameters
import RunConfiguration
import Tasks
import Testing
import Thinking
import Trajectories

@testable import FrontEnd
@testable import Learner
@testable import Sessions

/// Draws groups of two; the first prompt's group is a draft with a child for each sample, the second's gets a hint beside it, the
/// third is dropped.
private struct BranchingScheduler: PromptScheduler {
  static let name = "branching"
  static let summary = ""
  static let readsRewards = true
  var state = 0
  let context: SchedulerContext

  init(_ values: ParameterValues, _ context: SchedulerContext) { self.context = context }

  var ordinalsPerPrompt: Int { 3 }
  var longestCompletion: Int { context.plan.longestCompletion }

  mutating func next(_ count: Int, from prompts: (Int) throws -> [Prompt]) throws -> [DrawnGroup] {
    try prompts(count).enumerated().map {
      DrawnGroup(prompt: $1, role: $0 == 0 ? .draft : .train, sampleCount: 2, note: "\($0)")
    }
  }

  func plan(for group: DrawnGroup) -> CompletionPlan { context.plan }

  func finished(_ group: FinishedGroup) -> GroupDecision {
    let child = ChildGroup(plan: context.plan, sampleCount: 2, joinsParent: group.note == "0", note: "child")
    switch group.note {
    case "0": return .hold([child, child])
    case "1": return group.samples.allSatisfy { $0.reward == 0 } ? .hold([child]) : .train
    case "2": return .drop
    case "3": return .hold([child, child, child])
    default: return .train
    }
  }

  mutating func concluded(_ groups: [FinishedGroup]) { state += groups.count }
}

@Suite struct StepGroupsTests {
  private func scheduler() -> any PromptScheduler {
    BranchingScheduler(
      ParameterValues(),
      SchedulerContext(
        plan: CompletionPlan(thinking: 2, maxAnswerTokens: 2), policy: ThinkingPolicy(), groupSize: 2, seed: 1,
        endOfThinkingTokens: [], encode: { _ in [] }))
  }

  private func step(prompts: Int) throws -> (StepQueue.Step, any PromptScheduler) {
    var scheduler = scheduler()
    let groups = try scheduler.next(prompts) { count in
      (0..<count).map { Prompt(id: "p\($0)", content: .text("?"), answer: "") }
    }
    return (StepQueue.Step(number: 5, firstOrdinal: 30, ordinalsPerPrompt: 3, groups: groups), scheduler)
  }

  private func completed(_ ordinal: Int, samples: [Int] = [0, 1]) -> CompletedGroup {
    CompletedGroup(
      ordinal: ordinal,
      samples: samples.map {
        CollectedTrajectory(
          trajectory: Trajectory(
            promptID: "", groupID: ordinal, sampleIndex: $0, policy: ThinkingPolicy(), policyVersion: 5, prompt: [1],
            segments: [.discrete(DiscreteSegment(tokenIDs: [Int32(ordinal)], logProbs: [-1]))], finishReason: .stop),
          workerName: "w", fingerprint: "", elapsedMicroseconds: 1)
      })
  }

  private func zero(_ trajectories: [Trajectory], _ prompt: Prompt) -> [Trajectory] {
    trajectories.map {
      var trajectory = $0
      trajectory.reward = 0
      return trajectory
    }
  }

  /// Groups with a caught worker's samples are not complete any longer; their children are not asked for twice.
  @Test func groupsOfACaughtPartyAreReopened() throws {
    let (step, scheduler) = try step(prompts: 3)
    var groups = try StepGroups(step, scheduler: scheduler)
    func finished(_ ordinal: Int, by parties: [String]) -> CompletedGroup {
      var group = completed(ordinal)
      for (index, party) in parties.enumerated() { group.samples[index].party = party }
      return group
    }
    let children = try groups.finish(finished(30, by: ["good", "evil"]), rewarded: zero).map(\.ordinal)
    for ordinal in children { _ = try groups.finish(finished(ordinal, by: ["good", "good"]), rewarded: zero) }
    _ = try groups.finish(finished(33, by: ["good", "good"]), rewarded: zero)
    _ = try groups.finish(finished(34, by: ["good", "good"]), rewarded: zero)
    _ = try groups.finish(finished(36, by: ["evil", "evil"]), rewarded: zero)
    #expect(groups.isComplete)
    let reopened = groups.reopen(without: ["evil"])
    let kept = reopened.map { $0.kept.map(\.trajectory.sampleIndex) }
    #expect(reopened.map(\.ordinal) == [30, 36] && kept == [[0], []])
    #expect(!groups.isComplete)
    let again = groups.reopen(without: ["evil"])
    #expect(again.isEmpty)
    for ordinal in [30, 36] {
      let requested = try groups.finish(finished(ordinal, by: ["good", "good"]), rewarded: zero)
      #expect(requested.isEmpty)
    }
    #expect(groups.isComplete && groups.count == 6)
  }

  @Test func childrenJoinOrStandAloneWhateverCameFirst() throws {
    let (step, scheduler) = try step(prompts: 3)
    var trained: [[[Int]]] = []
    for order in [[30, 33, 36], [36, 33, 30]] {
      var groups = try StepGroups(step, scheduler: scheduler)
      var requested: [Int] = []
      for ordinal in order {
        requested += try groups.finish(completed(ordinal), rewarded: zero).map(\.ordinal)
        #expect(!groups.isComplete)
      }
      #expect(requested.sorted() == [31, 32, 34] && groups.count == 6)
      for ordinal in requested.reversed() {
        // One of a child's samples was given up.
        let children = try groups.finish(completed(ordinal, samples: ordinal == 31 ? [1] : [0, 1]), rewarded: zero)
        #expect(children.isEmpty)
      }
      #expect(groups.isComplete && groups.completed.map(\.ordinal) == [30, 31, 32, 33, 34, 36])
      trained.append(
        groups.training.flatMap { group in
          group.samples.map { sample in
            guard case .discrete(let text) = sample.trajectory.segments[0] else { return [] }
            return [sample.trajectory.groupID, sample.trajectory.sampleIndex, Int(text.tokenIDs[0])]
          }
        })
      let concluded = groups.concluded(
        groups.training.flatMap(\.samples).map {
          var trajectory = $0.trajectory
          trajectory.reward = Float(trajectory.sampleIndex)
          return trajectory
        })
      #expect(concluded.map(\.ordinal) == [30, 31, 32, 33, 34, 36])
      #expect(concluded.map(\.parent) == [nil, 30, 30, nil, 33, nil])
      // Drafts and dropped groups have no reward; a joined child's samples are numbered on.
      #expect(concluded.map { $0.samples.map(\.reward) } == [[nil, nil], [1], [2, 3], [0, 1], [0, 1], [nil, nil]])
    }
    // Draft 30 gives its name to its children's samples; 34 is a group of its own; 36 was dropped.
    #expect(
      trained[0] == [
        [30, 1, 31], [30, 2, 32], [30, 3, 32], [33, 0, 33], [33, 1, 33], [34, 0, 34], [34, 1, 34],
      ])
    #expect(trained[0] == trained[1])
  }

  @Test func moreChildrenThanOrdinalsAreRefused() throws {
    let (step, scheduler) = try step(prompts: 4)
    var groups = try StepGroups(step, scheduler: scheduler)
    let error = #expect(throws: RoleError.self) { _ = try groups.finish(completed(39), rewarded: zero) }
    #expect(error?.message.contains("branching") == true)
  }

  /// Dropped groups are replaced when all of a draw is finished, by prompts that do not depend on whose group was first; after the
  /// last draw the step is trained on as it is.
  @Test func droppedGroupsAreReplaced() throws {
    let context = SchedulerContext(
      plan: CompletionPlan(thinking: 2, maxAnswerTokens: 2), policy: ThinkingPolicy(), groupSize: 2, seed: 1,
      endOfThinkingTokens: [], encode: { _ in [] })
    let dynamic = try SchedulerRegistry.make(
      SchedulerRegistry.describe("dynamic_sampling", ["dynamic_sampling_maximum_draws": .integer(3)]), context)
    var configuration = RunConfiguration()
    configuration.task.kind = .multiply
    func run(reversed: Bool) throws -> (trained: [String], drawn: [String], state: StepQueue.State) {
      var queue = StepQueue(
        try PromptSource(configuration), dynamic, step: 0, nextOrdinal: 0, promptsPerStep: 3, lead: 1, totalSteps: 4)
      #expect(try queue.draw(at: 0).map(\.firstOrdinal) == [0, 9])
      let step = try #require(queue.current)
      #expect(step.ordinals == 0..<9)
      var groups = try StepGroups(step, scheduler: dynamic)
      var open = try StepGroups.requests(step, scheduler: dynamic)
      var drawn = step.groups.map { $0.prompt.id }
      var draws = 0
      while !open.isEmpty {
        draws += 1
        for request in reversed ? open.reversed() : open {
          #expect(groups.missing == 0)
          // Two of the first draw vary not, one of the second, and none of the third does.
          let varies = draws == 1 ? request.ordinal == 1 : draws == 2 ? request.ordinal == 3 : false
          #expect(
            try groups.finish(
              completed(request.ordinal),
              rewarded: { trajectories, _ in
                trajectories.map {
                  var trajectory = $0
                  trajectory.reward = varies ? Float($0.sampleIndex) : 1
                  return trajectory
                }
              }
            ).isEmpty)
        }
        let replacements = groups.missing > 0 ? try queue.replace(groups.missing) : []
        drawn += replacements.map { $0.prompt.id }
        open = replacements.isEmpty ? [] : try groups.replace(by: replacements)
      }
      #expect(draws == 3 && groups.isComplete && groups.missing == 0 && groups.droppedCount == 4)
      #expect(groups.training.map { $0.samples[0].trajectory.groupID } == [1, 3])
      queue.finish(groups.concluded([]))
      return (groups.training.map { $0.prompt.id }, drawn, try queue.state)
    }
    let (first, second) = (try run(reversed: false), try run(reversed: true))
    #expect(first.trained == second.trained && first.drawn == second.drawn && first.state == second.state)
    #expect(Set(first.drawn).count == 6, "each replacement is another prompt")
    // A checkpoint keeps the steps that were drawn ahead, with what is reserved for their replacements.
    let pending = try JSONDecoder().decode([StepQueue.Step].self, from: JSONEncoder().encode(first.state.pending))
    #expect(pending == first.state.pending && pending.map(\.ordinals) == [9..<18])
  }

  /// A group of the usual scheduler is trained on as it came.
  @Test func plainGroupsKeepTheirNames() throws {
    let plain = try SchedulerRegistry.make(
      SchedulerRegistry.describe("plain", [:]),
      SchedulerContext(
        plan: CompletionPlan(thinking: 2, maxAnswerTokens: 2), policy: ThinkingPolicy(), groupSize: 3, seed: 1,
        endOfThinkingTokens: [], encode: { _ in [] }))
    let prompt = Prompt(id: "p", content: .text("?"), answer: "")
    let step = StepQueue.Step(
      number: 0, firstOrdinal: 4, ordinalsPerPrompt: 1, groups: [DrawnGroup(prompt: prompt, sampleCount: 3)])
    var groups = try StepGroups(step, scheduler: plain)
    let sent = completed(4, samples: [0, 2])
    #expect(try groups.finish(sent, rewarded: { trajectories, _ in trajectories }).isEmpty)
    #expect(groups.isComplete && groups.training.flatMap(\.samples) == sent.samples)
  }
}
