import Observability
import Testing
import WeightSync

@testable import Learner
@testable import Sessions

@Suite struct ObserverExampleTests {
  private func report(_ step: Int, thinking: Double?) -> StepReport {
    StepReport(
      step: step,
      record: MetricsRecord(
        step: step, time: 0, metrics: thinking.map { [MetricName.thinkingLengthMean: $0] } ?? [:]),
      trajectories: [], leafRows: [], identity: .zero, times: (0, 1, 2, 3))
  }

  @Test func aCollapseEndsTheRun() throws {
    let observer = CollapseGuard(shortest: 4, patience: 2)
    // Only steps in a row count.
    for (step, length) in [(1, 9.0), (2, 3), (3, 5), (4, 3)] { try observer.stepped(report(step, thinking: length)) }
    try observer.stepped(report(5, thinking: nil))
    #expect(throws: RoleError.self) { try observer.stepped(report(6, thinking: 2)) }
    // The events that it does not name are none of its business.
    try observer.sampled(SampledBatch(step: 1, trajectories: [], prompts: [:]))
    observer.ended(after: 6)
  }
}
