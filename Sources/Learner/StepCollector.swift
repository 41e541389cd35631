import Coordination
import FrontEnd
import Logging
import Machine
import RunConfiguration
import Sessions
import Tasks
import Thinking
import Training
import Trajectories
import Transformer

/// Submits the groups of steps to the fleet, waits for a step's samples, and has them verified as they come.
struct StepCollector {
  let frontEnd: LearnerFrontEnd
  var judging: StepJudging
  /// The cluster at the last step's record.
  var recorded = FleetStatistics()
  private let subject: TrainingSubject
  private let verification: RolloutVerification
  /// Whether samples go on under new weights.
  private let continuesAcrossVersions: Bool
  private let incidentsPath: String
  private let logger: Logger
  /// Groups that were submitted and are not trained on yet, by ordinal: what their samples are held against.
  private var submitted: [Int: PromptGroup] = [:]

  init(
    _ frontEnd: LearnerFrontEnd, subject: TrainingSubject, judging: StepJudging, verification: RolloutVerification,
    continuesAcrossVersions: Bool, incidentsPath: String, logger: Logger
  ) {
    self.frontEnd = frontEnd
    self.subject = subject
    self.judging = judging
    self.verification = verification
    self.continuesAcrossVersions = continuesAcrossVersions
    self.incidentsPath = incidentsPath
    self.logger = logger
  }

  /// Of the step collected last.
  var verified: RolloutVerification.Summary { verification.summary }

  mutating func submit(_ requests: [StepGroups.Request], due version: Int) throws {
    try frontEnd.submit(
      try requests.map { request in
        var group = try subject.group(request, due: version)
        group.dueVersion = version
        group.continuesAcrossVersions = continuesAcrossVersions
        submitted[group.ordinal] = group
        return group
      })
  }

  /// Forgets the groups below an ordinal: their step is complete.
  mutating func forget(below ordinal: Int) { submitted = submitted.filter { $0.key >= ordinal } }

  /// Waits for a step's groups and their children; those of later steps stay with the front end. There is no limit to the wait:
  /// workers may come later, and the log says who is missing.
  ///
  /// - Parameters:
  ///   - model: the policy that samples, of version `version`; its step is the one after.
  ///   - isStopping: whether the run is to end.
  /// - Returns: nil when the run is to end.
  mutating func collect(
    _ step: StepQueue.Step, _ queue: inout StepQueue, under model: PreparedModel, version: Int,
    telling observers: RunObservers, isStopping: () -> Bool
  ) throws -> StepGroups? {
    var groups = try StepGroups(step, scheduler: queue.scheduler)
    var lastNotice = MonotonicClock.seconds()
    verification.begin(model, version: version)
    defer { verification.end() }
    while try groups.missing > 0 || !isSettled(&groups, version) {
      if groups.missing > 0 {
        let replacements = try groups.replace(by: try queue.replace(groups.missing))
        logger.debug("step \(version + 1) draws \(replacements.count) groups in the place of dropped ones")
        try submit(replacements, due: step.number)
      }
      if isStopping() { return nil }
      if judging.consults { judging.arrived(frontEnd.takeArrivals(), of: queue.pending) }
      // Whoever judges elsewhere is given samples while others are sampled.
      let patience = Duration.milliseconds(judging.consults ? 20 : 500)
      if let group = try frontEnd.nextGroup(within: patience, below: step.ordinals.upperBound) {
        let children = try groups.finish(group) { try judging.rewarded($0, $1) }
        if !children.isEmpty { try submit(children, due: step.number) }
        if let work = submitted[group.ordinal] {
          try convict(try verification.arrived(group.samples, of: work), &groups, version)
        }
      }
      let now = MonotonicClock.seconds()
      let statistics = frontEnd.statistics()
      if now - lastNotice > 15 && statistics.workers.isEmpty {
        logger.warning(
          "no workers: \(statistics.queuedSamples) samples wait; start `softgrpo worker --connect \(frontEnd.controlEndpoint)`"
        )
        lastNotice = now
      }
      try observers.tell {
        try $0.fleetChanged(
          FleetReport(
            completedSteps: version, finishedGroups: groups.finishedCount, groups: groups.count,
            statistics: statistics))
      }
    }
    return groups
  }

  /// Whether a step's groups are complete and of each key's samples one at least was looked at.
  private func isSettled(_ groups: inout StepGroups, _ version: Int) throws -> Bool {
    guard groups.isComplete else { return false }
    let samples = groups.completed.flatMap { group in
      group.samples.compactMap { sample in submitted[group.ordinal].map { (sample, $0) } }
    }
    try convict(try verification.conclude(samples), &groups, version)
    return groups.isComplete
  }

  /// Ends the part of parties whose trajectory is not what it should be, and has their samples of this step sampled again: their keys
  /// are quarantined, and whatever else they sent is not trained on.
  private func convict(
    _ findings: [RolloutVerification.Finding], _ groups: inout StepGroups, _ version: Int
  ) throws {
    var parties: Set<String> = []
    for finding in findings {
      guard let party = finding.sample.party, parties.insert(party).inserted else { continue }
      let trajectory = finding.sample.trajectory
      let evidence = Incident(step: version + 1, finding).write(to: incidentsPath, logger: logger)
      let place = "group \(trajectory.groupID) sample \(trajectory.sampleIndex)"
      logger.error(
        """
        worker \(finding.sample.workerName) (\(party)) is caught: \(place): \(finding.reason). Nothing of it is trained on from here; its \
        samples are granted again\(evidence.map { "; the evidence is in \($0)" } ?? "")
        """)
      frontEnd.quarantine(Party(described: party), reason: "\(place): \(finding.reason)")
    }
    for (ordinal, kept) in groups.reopen(without: parties) {
      guard let work = submitted[ordinal] else { continue }
      try frontEnd.restore(work, keeping: kept)
    }
  }
}
