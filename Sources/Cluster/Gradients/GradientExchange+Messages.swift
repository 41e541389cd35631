import Coordination
import PolicyOptimization
import Training
import Wire

// What the I/O thread does with gradient leases.
extension GradientExchange {
  /// Lends leaves to workers, as far as they are expected back before the learner would have computed them itself.
  ///
  /// - Parameter isReady: whether a worker may have a lease of this version now.
  mutating func grant(now: Duration, isReady: (_ worker: WorkerID, _ version: Int) -> Bool) {
    guard let learnerRate = rates.learnerRowsPerSecond, let round, round.leases.pendingRows > 0 else { return }
    let offer = round.offer
    var busy: [WorkerID: Double] = [:]
    for lease in round.leases.outstanding where !lease.isComputed {
      busy[lease.worker] = max(0, (lease.expected - now).inSeconds)
    }
    let candidates = peers.filter { id, peer in
      !peer.hasDeclined && (offer.fingerprint == nil || offer.fingerprint == peer.fingerprint)
        && !offer.excludedWorkers.contains(peer.name) && isReady(id, offer.version)
    }.sorted { $0.key < $1.key }
    guard candidates.contains(where: { busy[$0.key] == nil }) else { return }
    // Gradients come some at a time: each waits for those before it.
    let atOnce = Self.transfersAtOnce(byteCount: offer.byteCount)
    let ahead = round.leases.outstanding.count { $0.isComputed }
    let workers = candidates.enumerated().map { position, candidate in
      let transfer = Double(offer.byteCount) / rates.bytesPerSecond(of: candidate.value.incarnation)
      return GradientShares.Worker(
        rowsPerSecond: rates.rowsPerSecond(
          of: candidate.value.incarnation, threads: candidate.value.threads, learnerThreads: options.learnerThreads)
          ?? 0,
        delaySeconds: (busy[candidate.key] ?? 0) + transfer
          * Double(1 + (ahead + position) / atOnce))
    }
    // The learner comes to what is left when it is done with the leaf that it is at.
    let local = round.leases.localRowsLeft(learnerRowsPerSecond: learnerRate, now: now)
    let shares = GradientShares(
      rowsLeft: Double(round.leases.pendingRows) + local, learnerRowsPerSecond: learnerRate,
      workers: workers.map {
        GradientShares.Worker(
          rowsPerSecond: $0.rowsPerSecond, delaySeconds: $0.delaySeconds + Self.samplingFirst * samplingSeconds)
      })
    // A last leaf is better left to whoever comes free and is faster.
    let fastest = workers.reduce(learnerRate) { max($0, $1.rowsPerSecond) }
    for (index, (id, peer)) in candidates.enumerated() where busy[id] == nil && shares.rows[index] > 0 {
      let (worker, secondsLeft) = (workers[index], (Double(self.round!.leases.pendingRows) + local) / learnerRate)
      func seconds(_ rows: Int) -> Double { worker.delaySeconds + Double(rows) / max(worker.rowsPerSecond, 1e-9) }
      guard
        let record = self.round!.leases.grant(
          // A speed that is only assumed is tried on one leaf.
          to: id, atMost: rates.isMeasured(peer.incarnation) ? shares.rows[index] : 0, now: now,
          isWorthwhile: { seconds($0) < min(secondsLeft, shares.seconds + Double($0) / fastest) },
          expectedSeconds: seconds)
      else { continue }
      outgoing.append(
        (
          id,
          .gradientGrant(offer.grant(id: record.id, leaves: record.leaves, deadline: options.leaseDuration))
        ))
    }
  }

  /// A worker pulls the trajectories of its lease.
  ///
  /// - Throws: `WireError` for trajectories that the lease does not have.
  mutating func serve(_ pull: GradientPull, to worker: WorkerID) throws {
    guard let round, let lease = round.leases.lease(pull.leaseID), lease.worker == worker else {
      return outgoing.append((worker, forgetMessage(pull.leaseID)))
    }
    let trajectories = round.offer.trajectories(lease.leaves)
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
  mutating func ready(_ ready: GradientReady, from worker: WorkerID, now: Duration) throws {
    guard round?.leases.computed(ready.leaseID, by: worker, now: now) == .wanted,
      let lease = round!.leases.lease(ready.leaseID)
    else {
      drop(ready.leaseID)
      return outgoing.append((worker, forgetMessage(ready.leaseID)))
    }
    let steps = round!.offer.trajectories(lease.leaves).reduce(0) { $0 + $1.trajectory.scoredCount }
    guard ready.statistics.count == lease.leaves.count, ready.logProbs.count == steps else {
      throw WireError("GradientReady does not belong to its lease: it has other leaves or steps")
    }
    if round!.transfers[ready.leaseID]?.ready == ready {
      // Said again after a reconnection: what came so far is good.
      round!.transfers[ready.leaseID]!.forgetRequests(now)
      return request(ready.leaseID)
    }
    drop(ready.leaseID)
    measuredComputation(worker, rows: lease.rows, seconds: Double(ready.elapsedMicroseconds) * 1e-6)
    round!.waiting.append(ready)
    startTransfers(now: now)
  }

  /// - Returns: what to log.
  mutating func declined(_ leaseID: UInt64, isNotFinite: Bool, by worker: WorkerID) {
    guard round?.leases.lease(leaseID)?.worker == worker else { return }
    drop(leaseID)
    round!.leases.revoke(leaseID, toLearner: isNotFinite)
    if !isNotFinite { peers[worker]?.hasDeclined = true }
  }

  /// - Returns: whether a gradient is complete by it.
  /// - Throws: `WireError` for a chunk that was not asked for.
  mutating func receive(_ chunk: GradientChunk, from worker: WorkerID, now: Duration) throws -> Bool {
    // What was given up in the meantime is still on its way.
    guard let transfer = round?.transfers[chunk.leaseID], transfer.worker == worker else { return false }
    try round!.transfers[chunk.leaseID]!.receive(chunk, now: now)
    let after = round!.transfers[chunk.leaseID]!
    guard after.isComplete else {
      let rate = after.bytesPerSecond(now) ?? GradientRates.assumedBytesPerSecond
      round!.leases.arriving(
        chunk.leaseID, expectedSeconds: Double(after.bytesLeft) / max(rate, 1), now: now)
      request(chunk.leaseID)
      return false
    }
    measured(after, now: now)
    round!.transfers[chunk.leaseID] = nil
    outgoing.append((worker, .gradientDone(leaseID: chunk.leaseID, accepted: true)))
    if let leaves = round!.leases.complete(chunk.leaseID) {
      round!.arrived.append(
        ArrivedGradient(
          leaseID: chunk.leaseID, workerName: peers[worker]?.name ?? "", leaves: leaves,
          node: round!.offer.node(of: leaves), payload: after.payload, root: after.ready.root,
          results: results(after.ready, leaves)))
    }
    return true
  }

  private func results(_ ready: GradientReady, _ leaves: Range<Int>) -> [LeafResult] {
    var at = 0
    return zip(leaves, ready.statistics).map { leaf, statistics in
      var result = LeafResult()
      result.statistics = statistics.statistics
      for item in round!.offer.leaves[leaf].microBatches.joined() {
        let count = item.trajectory.scoredCount
        result.logProbs.append(Array(ready.logProbs[at..<at + count]))
        at += count
      }
      return result
    }
  }

  /// Pulls the next gradients, as many at a time as there may be in memory.
  mutating func startTransfers(now: Duration) {
    while let round, let ready = round.waiting.first,
      round.transfers.count < Self.transfersAtOnce(byteCount: round.offer.byteCount),
      round.transfers.count + round.arrived.count < heldGradients(byteCount: round.offer.byteCount)
    {
      self.round!.waiting.removeFirst()
      guard let lease = round.leases.lease(ready.leaseID) else { continue }
      self.round!.transfers[ready.leaseID] = GradientTransfer(
        ready, worker: lease.worker, elementCount: round.offer.elementCount, type: round.offer.type, now: now)
      request(ready.leaseID)
    }
    // Those that wait their turn are not late.
    for (position, ready) in (round?.waiting ?? []).enumerated() {
      guard let lease = round!.leases.lease(ready.leaseID), let peer = peers[lease.worker] else { continue }
      let transfer = Double(round!.offer.byteCount) / rates.bytesPerSecond(of: peer.incarnation)
      round!.leases.arriving(
        ready.leaseID,
        expectedSeconds: transfer * Double(2 + position / Self.transfersAtOnce(byteCount: round!.offer.byteCount)),
        now: now)
    }
  }

  /// Asks for more of a gradient: as much as comes in about half a second, so that a worker's heartbeats never wait long
  /// behind it.
  mutating func request(_ id: UInt64) {
    guard let transfer = round?.transfers[id] else { return }
    let rate = peers[transfer.worker].map { rates.bytesPerSecond(of: $0.incarnation) }
    let isMeasured = transfer.nextExpected > 16
    let window = isMeasured ? Int((rate ?? 0) / 2) / GradientChunk.byteCount : 4
    guard let pull = self.round!.transfers[id]!.request(window: min(32, max(1, window))) else { return }
    outgoing.append((transfer.worker, .pullGradient(pull)))
  }
}
