import Coordination
import Machine
import Training
import Wire

// What the I/O thread does with gradient leases.
extension GradientExchange {
  /// A worker pulls the trajectories of its lease.
  ///
  /// - Throws: `WireError` for trajectories that the lease does not have.
  package mutating func serve(_ pull: GradientPull, to worker: WorkerID) throws {
    guard let (index, lease) = rounds.lease(pull.leaseID), lease.worker == worker else {
      return outgoing.append((worker, forgetMessage(pull.leaseID)))
    }
    let trajectories = rounds[index].offer.trajectories(lease.leaves)
    guard pull.first + pull.count <= trajectories.count else {
      throw WireError("PullGradientWork asks for trajectories that the lease does not have")
    }
    for index in pull.first..<pull.first + pull.count {
      outgoing.append(
        (
          worker,
          .gradientTrajectory(GradientTrajectory(trajectories[index], leaseID: pull.leaseID, index: index))
        ))
    }
  }

  /// A worker has computed a lease.
  ///
  /// - Throws: `WireError` when what it says cannot belong to the lease.
  package mutating func ready(_ ready: GradientReady, from worker: WorkerID, now: Duration) throws {
    guard let index = rounds.index(of: ready.leaseID),
      rounds[index].isHolder(peers[worker]?.party, of: ready.leaseID),
      rounds[index].leases.computed(ready.leaseID, by: worker, now: now) == .wanted,
      let lease = rounds[index].leases.lease(ready.leaseID)
    else {
      rounds.drop(ready.leaseID)
      return outgoing.append((worker, forgetMessage(ready.leaseID)))
    }
    let offer = rounds[index].offer
    let slots = offer.trajectories(lease.leaves).reduce(0) { $0 + $1.trajectory.slotCount }
    guard ready.sums.count == lease.leaves.count, ready.logProbs.count == slots else {
      throw WireError("GradientReady does not belong to its lease: it has other leaves or slots")
    }
    try checkOrigins(ready.origins, of: worker, offer)
    if rounds[index].transfers[ready.leaseID]?.ready == ready {
      // Said again after a reconnection: what came so far is good.
      rounds[index].transfers[ready.leaseID]!.forgetRequests(now)
      return request(ready.leaseID)
    }
    rounds[index].drop(ready.leaseID)
    if let peer = peers[worker] {
      forecast.rates.workerComputed(
        peer.incarnation, rows: lease.rows, seconds: Double(ready.elapsedMicroseconds) * 1e-6,
        threads: peer.power(for: offer).threads)
    }
    if offer.asksForScores {
      // The log-probs are all there is to it.
      arrived(
        ready, from: worker, payload: GradientPayload(count: 0, type: offer.type), started: now, in: index, now: now)
      return
    }
    rounds[index].waiting.append(ready)
    startTransfers(now: now)
  }

  /// Whether chunks of a gradient are awaited from a worker.
  package func isArriving(_ leaseID: UInt64, from worker: WorkerID) -> Bool {
    rounds.index(of: leaseID).flatMap { rounds[$0].transfers[leaseID]?.worker } == worker
  }

  /// A relay answers for who computed what it sends; nobody else has anything to say about that.
  private func checkOrigins(_ origins: [GradientOrigin], of worker: WorkerID, _ offer: GradientOffer) throws {
    // Whose ids are not secret may not be answered for by anyone.
    guard let peer = peers[worker], peer.isRelay || peer.power(for: offer).workers > 0 else {
      throw WireError("GradientReady of a worker that may not compute this gradient")
    }
    guard origins.isEmpty != peer.isRelay else {
      throw WireError("GradientReady \(origins.isEmpty ? "of a relay lacks" : "of a worker has") origins")
    }
    let excluded = offer.excluded(below: peer.party)
    let isForbidden = origins.contains {
      ($0.fingerprint != offer.fingerprint ?? $0.fingerprint) || excluded.contains($0.workerName)
    }
    if isForbidden { throw WireError("GradientReady has leaves that a worker computed who was not to") }
  }

  package mutating func declined(_ leaseID: UInt64, reason: String = "", isNotFinite: Bool, by worker: WorkerID) {
    guard let (index, lease) = rounds.lease(leaseID), lease.worker == worker else { return }
    rounds[index].drop(leaseID)
    rounds[index].leases.revoke(leaseID, toLearner: isNotFinite)
    if isNotFinite { peers.countUnusable(of: worker) } else { peers.decline(worker) }
    // There is no learner here that could see for itself.
    if isNotFinite, !options.isLearner {
      rounds[index].failure = RoundFailure(
        reason: "worker \(peers[worker]?.name ?? "") says: \(reason)", isNotFinite: true)
    }
  }

  /// - Returns: whether a gradient is complete by it.
  /// - Throws: `WireError` for a chunk that was not asked for.
  package mutating func receive(_ chunk: GradientChunk, from worker: WorkerID, now: Duration) throws -> Bool {
    // What was given up in the meantime is still on its way.
    guard let index = rounds.index(of: chunk.leaseID), let transfer = rounds[index].transfers[chunk.leaseID],
      transfer.worker == worker
    else { return false }
    try rounds[index].transfers[chunk.leaseID]!.receive(chunk, now: now)
    let after = rounds[index].transfers[chunk.leaseID]!
    guard after.isComplete else {
      let rate = after.bytesPerSecond(now) ?? GradientRates.assumedBytesPerSecond
      rounds[index].leases.arriving(
        chunk.leaseID, expectedSeconds: Double(after.bytesLeft) / max(rate, 1), now: now)
      request(chunk.leaseID)
      return false
    }
    measured(after, now: now)
    rounds[index].transfers[chunk.leaseID] = nil
    arrived(after.ready, from: worker, payload: after.payload, started: after.started, in: index, now: now)
    return true
  }

  /// A lease is answered in full.
  private mutating func arrived(
    _ ready: GradientReady, from worker: WorkerID, payload: GradientPayload, started: Duration, in index: Int,
    now: Duration
  ) {
    outgoing.append((worker, .gradientDone(leaseID: ready.leaseID, accepted: true)))
    guard let leaves = rounds[index].leases.complete(ready.leaseID) else { return }
    let (offer, peer) = (rounds[index].offer, peers[worker])
    let itself = GradientOrigin(
      workerName: peer?.name ?? "", fingerprint: peer?.fingerprint ?? "", leafCount: leaves.count,
      root: offer.asksForScores ? [] : ready.root)
    let seconds = Double(ready.elapsedMicroseconds) * 1e-6 + (now - started).inSeconds
    rounds[index].arrived.append(
      ArrivedGradient(
        round: rounds[index].id, leaseID: ready.leaseID, worker: worker, workerName: itself.workerName,
        party: peer?.party, isFromRelay: peer?.isRelay ?? false,
        leaves: leaves, node: offer.tree.node(of: leaves)!, payload: payload, root: ready.root,
        results: offer.results(of: ready, leaves: leaves), origins: ready.origins.isEmpty ? [itself] : ready.origins,
        threadSeconds: seconds * Double(peer?.power(for: offer).threads ?? 1)))
  }

  /// Pulls the next gradients, as many at a time as there may be in memory.
  mutating func startTransfers(now: Duration) {
    for index in rounds.indices {
      while let ready = rounds[index].waiting.first {
        let transfers = rounds.reduce(0) { $0 + $1.transfers.count }
        let arrived = rounds.reduce(0) { $0 + $1.arrived.count }
        let offer = rounds[index].offer
        guard transfers < Self.transfersAtOnce(byteCount: offer.byteCount),
          transfers + arrived < heldGradients(byteCount: offer.byteCount)
        else { break }
        rounds[index].waiting.removeFirst()
        guard let lease = rounds[index].leases.lease(ready.leaseID) else { continue }
        rounds[index].transfers[ready.leaseID] = GradientTransfer(
          ready, worker: lease.worker, elementCount: offer.elementCount, type: offer.type, now: now)
        request(ready.leaseID)
      }
      // Those that wait their turn are not late.
      for (position, ready) in rounds[index].waiting.enumerated() {
        guard let lease = rounds[index].leases.lease(ready.leaseID), let peer = peers[lease.worker] else { continue }
        let byteCount = rounds[index].offer.byteCount
        let transfer = Double(byteCount) / forecast.rates.bytesPerSecond(of: peer.incarnation)
        rounds[index].leases.arriving(
          ready.leaseID, expectedSeconds: transfer * Double(2 + position / Self.transfersAtOnce(byteCount: byteCount)),
          now: now)
      }
    }
  }

  /// Asks for more of a gradient: as much as comes in about half a second, so that a worker's heartbeats never wait long
  /// behind it.
  mutating func request(_ id: UInt64) {
    guard let index = rounds.index(of: id), let transfer = rounds[index].transfers[id] else { return }
    let rate = peers[transfer.worker].map { forecast.rates.bytesPerSecond(of: $0.incarnation) }
    let isMeasured = transfer.nextExpected > 16
    let window = isMeasured ? Int((rate ?? 0) / 2) / GradientChunk.byteCount : 4
    guard let pull = rounds[index].transfers[id]!.request(window: min(32, max(1, window))) else { return }
    outgoing.append((transfer.worker, .pullGradient(pull)))
  }
}
