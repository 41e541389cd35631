import Logging
import Observability
import Tasks

/// A line of `metrics.jsonl` for each step.
final class MetricsFile: RunObserver {
  private var log: MetricsLog
  private let logger: Logger

  init(_ log: consuming MetricsLog, logger: Logger) {
    self.log = log
    self.logger = logger
  }

  func stepped(_ step: StepReport) throws {
    if let notice = try log.append(step.record) { logger.warning("\(notice)") }
  }
}

/// The best and the worst trajectory of a step's first group as text, every `interval` steps.
final class TextSamples: RunObserver {
  private let subject: TrainingSubject
  private let interval: Int
  private let directory: String

  /// - Parameter interval: at least 1.
  init(_ subject: TrainingSubject, interval: Int, directory: String) {
    self.subject = subject
    self.interval = interval
    self.directory = directory
  }

  func sampled(_ samples: SampledBatch) throws {
    guard (samples.step - 1) % interval == 0, let group = samples.trajectories.first?.groupID,
      let prompt = samples.prompts[group]
    else { return }
    let members = samples.trajectories.filter { $0.groupID == group }.sorted { ($0.reward ?? 0) > ($1.reward ?? 0) }
    let chosen = members.count > 1 ? [members[0], members[members.count - 1]] : members
    _ = try TextSample.write(
      chosen.map { subject.textSample($0, prompt: prompt) }, step: samples.step, directory: directory)
  }
}
