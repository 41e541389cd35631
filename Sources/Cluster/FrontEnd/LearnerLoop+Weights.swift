import Coordination
import Transport
import WeightSync
import Wire

// Versions and deltas, as workers pull them.
extension LearnerLoop {
  func served(_ version: Int, _ isDelta: Bool) -> (any ChunkedWeights)? {
    let now = MonotonicClock.now()
    return shared.state.withLock { $0.versions.served(version: version, isDelta: isDelta, now: now) }
  }

  /// Nothing to plan before the first publication: the worker asks again when it is told of a version.
  func servePlan(holding identity: [UInt8], to worker: WorkerID) throws {
    let held = try? Digest(identity)
    guard let plan = shared.state.withLock({ $0.versions.plan(holding: held) }) else { return }
    try send(.weightPlan(WeightPlanDescription(plan)), to: worker)
  }

  func serve(_ pull: PullWeights, to worker: WorkerID) throws {
    guard let weights = served(pull.version, pull.isDelta) else {
      return try send(.weightsUnavailable(version: pull.version, isDelta: pull.isDelta), to: worker)
    }
    guard pull.firstChunk + pull.count <= weights.chunkCount else {
      throw WireError("PullWeights asks for chunks that version \(pull.version) does not have")
    }
    for index in pull.firstChunk..<pull.firstChunk + pull.count {
      // Read when it can go: what waits takes no memory.
      outboxes[worker]?.putBulk { [shared] in
        guard let bytes = weights.chunk(index) else { return nil }
        shared.state.withLock { $0.weightBytesSent += bytes.count }
        return .weightsChunk(WeightsChunk(version: pull.version, index: index, bytes: bytes, isDelta: pull.isDelta))
      }
    }
    try flush(worker)
  }
}
