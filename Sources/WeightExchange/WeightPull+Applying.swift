import Logging
import WeightSync
import Wire

// Deltas that are complete, applied by somebody else's thread.
extension WeightPull {
  /// Deltas that are complete and wait for somebody to apply them; each is handed out once.
  package mutating func takeJob() -> ApplyJob? {
    guard case .applying(let job, isTaken: false) = stage else { return nil }
    stage = .applying(job, isTaken: true)
    return job
  }

  /// A job has ended.
  package mutating func applied(
    _ number: Int, _ result: Result<WeightSnapshot, WeightSyncError>, now: Duration, logger: Logger
  ) throws -> [Message] {
    guard case .applying(let job, _) = stage, job.number == number else { return [] }
    switch result {
    case .success(let snapshot) where snapshot.description.isIntermediate:
      intermediate = IntermediateVersion(snapshot, delta: job.deltas.last)
      return try advance(now)
    case .success(let snapshot):
      inHand = snapshot
      deltasInHand = job.deltas
      base = nil
      noteArrival(now)
      return try advance(now)
    case .failure(let error):
      return try pullWhole(after: error, now, logger)
    }
  }
}
