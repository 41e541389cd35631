import Machine
import Observability

/// The progress of a run on the terminal.
final class ProgressLine: RunObserver {
  private var progress: ProgressReporter

  /// - Parameter steps: made before, by the run that is resumed.
  init(from steps: Int, totalSteps: Int, console: Console) {
    progress = ProgressReporter(label: "train", total: totalSteps, unit: "step", earlier: steps, console: console)
  }

  func stepped(_ step: StepReport) {
    progress.update(completed: step.step, at: step.times.published, detail: StepMetrics.summary(step.record))
  }

  func fleetChanged(_ fleet: FleetReport) {
    progress.update(
      completed: fleet.completedSteps, at: MonotonicClock.seconds(),
      detail:
        "sampling \(fleet.finishedGroups)/\(fleet.groups) groups, \(fleet.statistics.workers.count) workers")
  }

  func ended(after steps: Int) { progress.finish(completed: steps, at: MonotonicClock.seconds()) }
}
