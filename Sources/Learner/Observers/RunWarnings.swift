import Foundation
import JSON
import Logging
import Machine
import Observability

/// Warns of what the rules see in the run's records (`WarningRule`) and of samples that do not come back. The log has each
/// warning, and `warnings.jsonl`.
final class RunWarnings: RunObserver {
  private var watch: WarningWatch
  private var stalls = StallWatch()
  private let stopWhen: Set<String>
  private let leaseSeconds: Double
  private let path: String
  private let logger: Logger
  private(set) var stop: RunStop?
  /// Of the last warning of rewards that are all 0.
  private var saidCauses: [RunWarning.Cause] = []

  /// - Parameters:
  ///   - stopWhen: names of rules at whose warnings the run ends.
  ///   - step: after which the run begins: later warnings of the file belong to steps that are made again.
  /// - Throws: `ObservabilityError` when the file cannot be written.
  init(
    _ facts: RunFacts, stopWhen: [String], leaseSeconds: Double, path: String, after step: Int, logger: Logger
  ) throws {
    watch = WarningWatch(facts)
    self.stopWhen = Set(stopWhen)
    self.leaseSeconds = leaseSeconds
    self.path = path
    self.logger = logger
    try JSONLinesLog.cut(path, after: step)
  }

  func stepped(_ step: StepReport) throws {
    for warning in watch.receive(step.record) { try say(warning) }
    stalls.pause()
  }

  func fleetChanged(_ fleet: FleetReport) throws {
    let statistics = fleet.statistics
    let warning = stalls.receive(
      step: fleet.completedSteps + 1, accepted: statistics.leases.accepted, queued: statistics.queuedSamples,
      holders: statistics.workers.map { .init(name: $0.name, samples: $0.leasedSamples) },
      leaseSeconds: leaseSeconds, now: MonotonicClock.seconds())
    if let warning { try say(warning) }
  }

  func ended(after steps: Int) {
    guard let warning = watch.ended() else { return }
    // The causes stand in the log already, where a warning named them.
    for line in warning.causes == saidCauses ? Array(warning.lines.prefix(1)) : warning.lines {
      logger.warning("\(line)")
    }
    do { try JSONLinesLog.append(warning.json, to: path) } catch { logger.error("\(error)") }
  }

  private func say(_ warning: RunWarning) throws {
    for line in warning.lines { logger.warning("\(line)") }
    if warning.name == WarningRule.noReward { saidCauses = warning.causes }
    try JSONLinesLog.append(warning.json, to: path)
    if stop == nil, stopWhen.contains(warning.name) {
      stop = RunStop(reason: "run.stop_when: \(warning.name): \(warning.what)", isFailure: true)
    }
  }
}
