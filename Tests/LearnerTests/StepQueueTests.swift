import Foundation
import RunConfiguration
import Tasks
import Testing
import Thinking
import Trajectories

@testable import Learner

@Suite struct StepQueueTests {
  private func source() throws -> PromptSource {
    var configuration = RunConfiguration()
    configuration.task.kind = .multiply
    return try PromptSource(configuration)
  }

  private func scheduler() throws -> any PromptScheduler {
    try SchedulerRegistry.make(
      SchedulerRegistry.describe("plain", [:]),
      SchedulerContext(
        plan: CompletionPlan(thinking: 2, maxAnswerTokens: 2), policy: ThinkingPolicy(), groupSize: 4, seed: 1,
        endOfThinkingTokens: [], encode: { _ in [] }))
  }

  private func queue(lead: Int, step: Int = 0, from state: StepQueue.State? = nil) throws -> StepQueue {
    var source = try source()
    var scheduler = try scheduler()
    if let state {
      try source.restore(state.prompts)
      try scheduler.restore(state.scheduler)
    }
    return StepQueue(
      source, scheduler, step: step, nextOrdinal: state?.nextOrdinal ?? 0, pending: state?.pending ?? [],
      promptsPerStep: 3, lead: lead, totalSteps: 6)
  }

  /// The prompts and ordinals of every step, trained one after the other.
  private func steps(_ queue: StepQueue, from first: Int = 0) throws -> [[String]] {
    var queue = queue
    var trained: [[String]] = []
    for version in first..<6 {
      _ = try queue.draw(at: version)
      let step = try #require(queue.current)
      #expect(step.number == version && step.ordinals == version * 3..<version * 3 + 3)
      #expect(step.groups.allSatisfy { $0.sampleCount == 4 && $0.role == .train })
      trained.append(step.groups.map { $0.prompt.id })
      queue.finish()
    }
    #expect(try queue.draw(at: 6).isEmpty && queue.current == nil)
    return trained
  }

  @Test func theSamePromptsInTheSameOrderWhateverTheLead() throws {
    let onPolicy = try steps(queue(lead: 0))
    #expect(Set(onPolicy.joined()).count > 10)
    for lead in 1...3 { #expect(try steps(queue(lead: lead)) == onPolicy) }
  }

  @Test func drawsExactlyTheLead() throws {
    var queue = try queue(lead: 2)
    #expect(try queue.draw(at: 0).map(\.number) == [0, 1, 2])
    #expect(try queue.draw(at: 0).isEmpty)
    queue.finish()
    #expect(try queue.draw(at: 1).map(\.number) == [3])
    #expect(queue.pending.map(\.number) == [1, 2, 3])
    var onPolicy = try self.queue(lead: 0)
    #expect(try onPolicy.draw(at: 0).map(\.number) == [0])
    #expect(try onPolicy.draw(at: 0).isEmpty)
  }

  /// Steps that were submitted ahead and not trained are drawn again, the same prompts under the same ordinals.
  @Test func aResumedRunLosesNothingAndRepeatsNothing() throws {
    let straight = try steps(queue(lead: 2))
    var interrupted = try queue(lead: 2)
    for version in 0..<3 {
      _ = try interrupted.draw(at: version)
      interrupted.finish()
    }
    // Through the text of a checkpoint.
    let state = try interrupted.state
    #expect(state.nextOrdinal == 15 && state.pending.map(\.number) == [3, 4])
    let pending = try JSONDecoder().decode([StepQueue.Step].self, from: JSONEncoder().encode(state.pending))
    #expect(pending == state.pending)
    for lead in [0, 2, 3] {
      #expect(try steps(queue(lead: lead, step: 3, from: state), from: 3) == Array(straight[3...]))
    }
    var resumed = try queue(lead: 2, step: 3, from: state)
    #expect(try resumed.draw(at: 3).map(\.number) == [3, 4, 5])
  }

  /// Checkpoints of before steps were kept stand behind the last trained one.
  @Test func anOlderCheckpointDrawsAgain() throws {
    let straight = try steps(queue(lead: 0))
    var interrupted = try queue(lead: 0)
    for version in 0..<2 {
      _ = try interrupted.draw(at: version)
      interrupted.finish()
    }
    #expect(try interrupted.state.pending.isEmpty)
    #expect(try steps(queue(lead: 2, step: 2, from: interrupted.state), from: 2) == Array(straight[2...]))
  }

  @Test func anotherSchedulersStateIsRefused() throws {
    var scheduler = try scheduler()
    let error = #expect(throws: (any Error).self) {
      try scheduler.restore(SchedulerRecord(name: "other", state: Data("{}".utf8)))
    }
    #expect(error.map { "\($0)" }?.contains("other, not plain") == true)
  }
}
