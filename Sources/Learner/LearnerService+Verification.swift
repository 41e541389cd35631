import Coordination
import Foundation
import FrontEnd
import Logging
import SoftThinking

// What follows when a trajectory is not what it should be: its sender's key is quarantined, and whatever else it sent is not trained on.
extension LearnerService {
  /// Ends the parties' part in the run and has their samples of this step sampled again.
  func convict(
    _ findings: [RolloutVerification.Finding], _ groups: inout StepGroups, _ frontEnd: LearnerFrontEnd
  ) throws {
    var parties: Set<String> = []
    for finding in findings {
      guard let party = finding.sample.party, parties.insert(party).inserted else { continue }
      let trajectory = finding.sample.trajectory
      let evidence = Incident(step: run.step + 1, finding: finding).write(to: directory.incidentsPath, logger: logger)
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

/// What is kept of a caught worker.
struct Incident {
  var step: Int
  var finding: RolloutVerification.Finding

  /// Writes the evidence and the trajectory, as `softgrpo score` reads it. A disk that refuses is said, and stops nothing.
  /// - Returns: the file; nil: it could not be written.
  func write(to folder: String, logger: Logger) -> String? {
    let trajectory = finding.sample.trajectory
    let name = "step-\(step)-group-\(trajectory.groupID)-sample-\(trajectory.sampleIndex)"
    let path = "\(folder)/\(name).json"
    let described: [String: String] = [
      "worker": finding.sample.workerName, "party": finding.sample.party ?? "",
      "fingerprint": finding.sample.fingerprint, "reason": finding.reason, "step": String(step),
      "policy_version": String(trajectory.policyVersion), "group": String(trajectory.groupID),
      "sample": String(trajectory.sampleIndex), "trajectory": "\(name).jsonl",
    ]
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try JSONSerialization.data(withJSONObject: described, options: [.prettyPrinted, .sortedKeys])
        .write(to: URL(fileURLWithPath: path), options: .atomic)
      try Data((trajectory.jsonLine() + "\n").utf8).write(
        to: URL(fileURLWithPath: "\(folder)/\(name).jsonl"), options: .atomic)
      return path
    } catch {
      logger.error("the evidence against \(finding.sample.workerName) cannot be written to \(path): \(error)")
      return nil
    }
  }
}
