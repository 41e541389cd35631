import Coordination
import Machine
import Transport
import WeightExchange
import WeightSync
import Wire

// Versions and deltas, as workers pull them.
extension LearnerLoop {
  func served(_ version: Int, _ isDelta: Bool, _ progress: VersionStore.Progress) -> (any ChunkedWeights)? {
    let now = MonotonicClock.now()
    return shared.state.withLock {
      $0.versions.served(version: version, isDelta: isDelta, progress: progress, now: now)
    }
  }

  /// A worker says whether its link is too narrow for the versions.
  func note(narrowLink bytesPerSecond: Int, of worker: WorkerID) {
    let (before, byteCount) = shared.state.withLock { state in
      (
        state.registry.report(worker, narrowLinkBytesPerSecond: bytesPerSecond),
        state.versions.current?.byteCount ?? 0
      )
    }
    if bytesPerSecond > 0, before == 0 {
      log(
        .warning, of: worker,
        "worker \(name(of: worker)) cannot keep up with the versions: its link carries \(bytesPerSecond) bytes/s, and a version has \(byteCount) bytes; it takes no work until it can. Its own log has the figures"
      )
    } else if bytesPerSecond == 0, before > 0 {
      log(.notice, of: worker, "worker \(name(of: worker)) keeps up with the versions again")
    }
  }

  /// Nothing to plan before the first publication: the worker asks again when it is told of a version.
  func servePlan(holding identity: [UInt8], to worker: WorkerID) {
    let held = try? Digest(identity)
    guard let plan = shared.state.withLock({ $0.versions.plan(holding: held) }) else { return }
    send(.weightPlan(WeightPlanDescription(plan)), to: worker)
  }

  func serve(_ pull: PullWeights, to worker: WorkerID) throws {
    // Who asks for the same again has not got it.
    let isRepeated = lastPulls.updateValue(pull, forKey: worker) == pull
    guard let weights = served(pull.version, pull.isDelta, isRepeated ? .standsStill : .goesOn) else {
      return send(.weightsUnavailable(version: pull.version, isDelta: pull.isDelta), to: worker)
    }
    guard pull.firstChunk + pull.count <= weights.chunkCount else {
      throw WireError("PullWeights asks for chunks that version \(pull.version) does not have")
    }
    // One that was sent all of it several times asks again when it hears nothing.
    if let party = parties[worker] {
      let isWithin = withBudget(of: party) {
        $0.pull(
          version: pull.version, isDelta: pull.isDelta, count: pull.count, of: weights.chunkCount,
          sessions: sessionCounts[party] ?? 1, now: MonotonicClock.now())
      }
      guard isWithin else { return }
    }
    if pull.firstChunk + pull.count == weights.chunkCount { _ = served(pull.version, pull.isDelta, .ends) }
    for index in pull.firstChunk..<pull.firstChunk + pull.count {
      // Read when it can go: what waits takes no memory.
      outboxes[worker]?.putBulk { [shared] in
        guard let bytes = weights.chunk(index) else { return nil }
        shared.state.withLock { $0.weightBytesSent += bytes.count }
        return .weightsChunk(WeightsChunk(version: pull.version, index: index, bytes: bytes, isDelta: pull.isDelta))
      }
    }
    flush(worker)
  }
}
