import Foundation
import JSON
import Machine
import Observability

/// Keeps `status.json` up to date: what the run does now and who works for it, for `softgrpo status`.
final class StatusFile: RunObserver {
  /// Seconds between two writings while samples are waited for.
  private static let interval = 1.0

  private let path: String
  private let totalSteps: Int
  private let name: String
  private let began = Date().timeIntervalSince1970
  private var record: MetricsRecord?
  private var fleet: FleetReport?
  private var written = -Double.infinity

  init(path: String, name: String, totalSteps: Int) {
    self.path = path
    self.name = name
    self.totalSteps = totalSteps
  }

  func sampled(_ samples: SampledBatch) { write(.updating, completed: samples.step - 1) }

  func stepped(_ step: StepReport) {
    record = step.record
    write(.sampling, completed: step.step)
  }

  func fleetChanged(_ fleet: FleetReport) {
    self.fleet = fleet
    if MonotonicClock.seconds() - written >= Self.interval { write(.sampling, completed: fleet.completedSteps) }
  }

  func ended(after steps: Int) { write(.ended, completed: steps) }

  /// A status that cannot be written costs the run nothing; the next one is tried again.
  private func write(_ phase: RunStatus.Phase, completed: Int) {
    written = MonotonicClock.seconds()
    let statistics = fleet?.statistics
    let status = RunStatus(
      name: name, processID: Int(ProcessInfo.processInfo.processIdentifier), began: began,
      time: Date().timeIntervalSince1970, phase: phase, completedSteps: completed, totalSteps: totalSteps,
      finishedGroups: phase == .sampling ? fleet?.finishedGroups ?? 0 : 0, groups: fleet?.groups ?? 0,
      version: statistics?.currentVersion, queuedSamples: statistics?.queuedSamples ?? 0,
      leasedSamples: statistics?.leasedSamples ?? 0, lostSessions: statistics?.counters.lostSessions ?? 0,
      workers: (statistics?.workers ?? []).map {
        .init(
          name: $0.name, leasedSamples: $0.leasedSamples, heldVersion: $0.heldVersion,
          tokensPerSecond: $0.tokensPerSecond, activeSlots: $0.activeSlots, isDraining: $0.isDraining)
      }, metrics: record?.metrics ?? [:])
    try? Data((status.json.encoded(indent: 2) + "\n").utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}
