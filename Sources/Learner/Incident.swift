import Foundation
import Logging
import Trajectories

/// What is kept of somebody who was caught.
struct Incident {
  var step: Int
  var party: String
  var reason: String
  /// Whose trajectory it is, and under what arithmetic; nil: a gradient or log-probs of an update gave it away.
  var sampler: (worker: String, fingerprint: String, trajectory: Trajectory)?

  init(step: Int, party: String, reason: String) {
    (self.step, self.party, self.reason) = (step, party, reason)
  }

  init(step: Int, _ finding: RolloutVerification.Finding) {
    self.init(step: step, party: finding.sample.party ?? "", reason: finding.reason)
    sampler = (finding.sample.workerName, finding.sample.fingerprint, finding.sample.trajectory)
  }

  /// Writes the evidence, and the trajectory as `softgrpo score` reads it. A disk that refuses is said, and stops nothing.
  /// - Returns: the file; nil: it could not be written.
  func write(to folder: String, logger: Logger) -> String? {
    var described = ["party": party, "reason": reason, "step": String(step)]
    let name: String
    if let (worker, fingerprint, trajectory) = sampler {
      name = "step-\(step)-group-\(trajectory.groupID)-sample-\(trajectory.sampleIndex)"
      described.merge([
        "worker": worker, "fingerprint": fingerprint, "policy_version": String(trajectory.policyVersion),
        "group": String(trajectory.groupID), "sample": String(trajectory.sampleIndex), "trajectory": "\(name).jsonl",
      ]) { $1 }
    } else {
      let others = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      name = "step-\(step)-update-\(others.count { $0.hasPrefix("step-\(step)-update-") } + 1)"
    }
    let path = "\(folder)/\(name).json"
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try JSONSerialization.data(withJSONObject: described, options: [.prettyPrinted, .sortedKeys])
        .write(to: URL(fileURLWithPath: path), options: .atomic)
      if let trajectory = sampler?.trajectory {
        try Data((trajectory.jsonLine() + "\n").utf8).write(
          to: URL(fileURLWithPath: "\(folder)/\(name).jsonl"), options: .atomic)
      }
      return path
    } catch {
      logger.error("the evidence against \(sampler?.worker ?? party) cannot be written to \(path): \(error)")
      return nil
    }
  }
}
