import Logging
import Machine
import Observability

/// A line for each step, and on a terminal the state of the step under way below it.
final class ProgressLine: RunObserver {
  /// Steps at both ends of a run whose mean rewards are compared at its end.
  private static let compared = 10

  private var progress: ProgressReporter
  private let line: StepLine
  private let console: Console
  private let logger: Logger
  private var firstRewards: [Double] = []
  private var lastRewards: [Double] = []
  private var steps = 0

  /// - Parameter steps: made before, by the run that is resumed.
  init(from steps: Int, totalSteps: Int, console: Console, logger: Logger) {
    progress = ProgressReporter(label: "train", total: totalSteps, unit: "step", earlier: steps, console: console)
    line = StepLine(totalSteps: totalSteps)
    self.console = console
    self.logger = logger
  }

  func stepped(_ step: StepReport) {
    progress.update(completed: step.step, at: step.times.published, isSaid: true)
    if console.isTerminal {
      // The last column stays free: filling it makes some terminals wrap.
      console.writeLine(line.text(step.record, secondsLeft: progress.secondsLeft, width: console.width - 1))
    } else {
      logger.info("\(line.text(step.record, secondsLeft: progress.secondsLeft))")
    }
    guard let reward = step.record.metrics[MetricName.rewardMean] else { return }
    steps += 1
    if firstRewards.count < Self.compared { firstRewards.append(reward) }
    lastRewards = lastRewards.suffix(Self.compared - 1) + [reward]
  }

  func fleetChanged(_ fleet: FleetReport) {
    progress.update(
      completed: fleet.completedSteps, at: MonotonicClock.seconds(),
      detail:
        "sampling \(fleet.finishedGroups)/\(fleet.groups) groups, \(fleet.statistics.workers.count) workers")
  }

  func ended(after steps: Int) {
    func mean(_ values: some Collection<Double>) -> String {
      formatFixed(values.reduce(0, +) / Double(max(1, values.count)), 3)
    }
    // Ends that do not overlap.
    let count = min(Self.compared, self.steps / 2)
    progress.finish(
      completed: steps, at: MonotonicClock.seconds(),
      detail: count == 0
        ? ""
        : "reward \(mean(firstRewards.prefix(count))) in the first \(count) steps, "
          + "\(mean(lastRewards.suffix(count))) in the last \(count)")
  }
}
