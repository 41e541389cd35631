import Observability

@testable import Learner
@testable import Sessions

/// Ends a run whose thinking has collapsed: its mean length was below `shortest` for `patience` steps in a row.
final class CollapseGuard: RunObserver {
  private let shortest: Double
  private let patience: Int
  private var shortSteps = 0

  init(shortest: Double, patience: Int) {
    self.shortest = shortest
    self.patience = patience
  }

  func stepped(_ step: StepReport) throws {
    guard let length = step.record.metrics[MetricName.thinkingLengthMean] else { return }
    shortSteps = length < shortest ? shortSteps + 1 : 0
    guard shortSteps < patience else {
      throw RoleError(
        "step \(step.step): the mean thinking length was below \(shortest) for \(patience) steps and is now \(length); "
          + "go back to an earlier checkpoint, or lower learner.learning_rate")
    }
  }
}
