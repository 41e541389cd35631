import RunConfiguration
import Tasks
import Testing

@testable import Cluster

@Suite struct StepQueueTests {
  private func source() throws -> PromptSource {
    var configuration = RunConfiguration()
    configuration.task.kind = .multiply
    return try PromptSource(configuration)
  }

  private func queue(lead: Int, step: Int = 0, ordinal: Int = 0, from state: PromptSourceState? = nil) throws
    -> StepQueue
  {
    var source = try source()
    if let state { try source.restore(state) }
    return StepQueue(source, step: step, nextOrdinal: ordinal, promptsPerStep: 3, lead: lead, totalSteps: 6)
  }

  /// The prompts and ordinals of every step, trained one after the other.
  private func steps(_ queue: StepQueue, from first: Int = 0) throws -> [[String]] {
    var queue = queue
    var trained: [[String]] = []
    for version in first..<6 {
      _ = try queue.draw(at: version)
      let step = try #require(queue.current)
      #expect(step.number == version && step.ordinals == version * 3..<version * 3 + 3)
      trained.append(step.prompts.map { $0.id })
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
    var saved: (PromptSourceState, Int)?
    for version in 0..<3 {
      _ = try interrupted.draw(at: version)
      let step = try #require(interrupted.current)
      saved = (step.after, step.ordinals.upperBound)
      interrupted.finish()
    }
    let (state, ordinal) = try #require(saved)
    #expect(ordinal == 9)
    let resumed = try steps(queue(lead: 2, step: 3, ordinal: ordinal, from: state), from: 3)
    #expect(resumed == Array(straight[3...]))
  }
}
