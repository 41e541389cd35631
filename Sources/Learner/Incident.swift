import Foundation
import Logging
import Thinking
import Trajectories

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
