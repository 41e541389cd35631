import Coordination
import Machine
import Training
import Wire

// Who is lent what.
extension GradientExchange {
  /// A worker or relay that may have leaves of an offer.
  struct Candidate {
    var id: WorkerID
    var peer: Peer
    /// Workers (one, or a relay's) and their threads.
    var workers: Int
    var threads: Int
  }

  /// Who could compute an offer's leaves, in a fixed order.
  func candidates(for offer: GradientOffer) -> [Candidate] {
    peers.sorted { $0.key < $1.key }.compactMap { id, peer in
      let power = peer.power(for: offer)
      guard !peer.hasDeclined, power.workers > 0 else { return nil }
      return Candidate(id: id, peer: peer, workers: power.workers, threads: power.threads)
    }
  }

  /// Threads that could compute an offer's leaves.
  package func threads(for offer: GradientOffer) -> Int { candidates(for: offer).reduce(0) { $0 + $1.threads } }

  func rowsPerSecond(of candidate: Candidate) -> Double {
    rates.rowsPerSecond(
      of: candidate.peer.incarnation, threads: candidate.threads, learnerThreads: options.learnerThreads) ?? 0
  }

  /// What each worker is busy with: leases that are not computed, and seconds until the last of them should be.
  func occupation(now: Duration) -> [WorkerID: (leases: Int, seconds: Double)] {
    var busy: [WorkerID: (leases: Int, seconds: Double)] = [:]
    for lease in rounds.flatMap(\.leases.outstanding) where !lease.isComputed {
      let entry = busy[lease.worker] ?? (0, 0)
      busy[lease.worker] = (entry.leases + 1, max(entry.seconds, (lease.expected - now).inSeconds))
    }
    return busy
  }

  /// Lends leaves to workers, as far as they are expected back before the learner would have computed them itself. A relay
  /// has nobody but them.
  ///
  /// - Parameter isReady: whether a worker may have a lease of this version now.
  mutating func grant(now: Duration, isReady: (_ worker: WorkerID, _ version: Int) -> Bool) {
    for index in rounds.indices where rounds[index].leases.pendingRows > 0 && rounds[index].failure == nil {
      grant(index, now: now, isReady: isReady)
    }
  }

  private mutating func grant(_ index: Int, now: Duration, isReady: (WorkerID, Int) -> Bool) {
    guard let assumed = rates.learnerRowsPerSecond else { return }
    let learnerRate = options.isLearner ? assumed : 0
    let offer = rounds[index].offer
    let busy = occupation(now: now)
    let candidates = candidates(for: offer).filter { isReady($0.id, offer.policyVersion) }
    func room(_ candidate: Candidate) -> Int {
      (candidate.peer.isRelay ? Self.leasesOfARelay : 1) - (busy[candidate.id]?.leases ?? 0)
    }
    guard candidates.contains(where: { room($0) > 0 }) else { return }
    let workers = shareWorkers(candidates, offer: offer, told: rounds[index].told, now: now)
    // The learner comes to what is left when it is done with the leaf that it is at.
    let local = rounds[index].leases.localRowsLeft(learnerRowsPerSecond: learnerRate, now: now)
    let shares = GradientShares(
      rowsLeft: Double(rounds[index].leases.pendingRows) + local, learnerRowsPerSecond: learnerRate,
      workers: workers.map {
        GradientShares.Worker(
          rowsPerSecond: $0.rowsPerSecond, delaySeconds: $0.delaySeconds + Self.samplingFirst * samplingSeconds)
      })
    // A last leaf is better left to whoever comes free and is faster: the fastest machine, below a relay too.
    let fastest = candidates.indices.reduce(learnerRate) {
      shares.rows[$1] > 0 ? max($0, workers[$1].rowsPerSecond / Double(candidates[$1].workers)) : $0
    }
    let leafRows = rounds[index].leases.leafRows
    let meanRows = Double(leafRows.reduce(0, +)) / Double(leafRows.count)
    for (position, candidate) in candidates.enumerated() where room(candidate) > 0 && shares.rows[position] > 0 {
      guard candidate.peer.hasWeights(of: offer) else {
        tell(candidate.id, round: index, now: now)
        continue
      }
      let worker = workers[position]
      let rate = max(worker.rowsPerSecond, 1e-9)
      var taken = 0
      func seconds(_ rows: Int) -> Double {
        let total = Double(taken + rows)
        guard candidate.peer.isRelay else { return worker.delaySeconds + total / rate }
        // Nobody below computes less than a leaf: so many leaves, one after the other.
        let together = meanRows * Double(candidate.workers)
        return worker.delaySeconds + max(total, (total / together - 0.01).rounded(.up) * together) / rate
      }
      // A speed that is only assumed is tried on one leaf for each worker.
      var limit = shares.rows[position]
      if !rates.isMeasured(candidate.peer.incarnation) {
        limit = candidate.peer.isRelay ? min(limit, meanRows * (Double(candidate.workers) + 0.5)) : 0
      }
      // A relay's share need not be one node.
      for number in 0..<room(candidate) {
        let secondsLeft = (Double(rounds[index].leases.pendingRows) + local) / learnerRate
        // Below a relay somebody has to do it.
        let isUrgent = !options.isLearner && rounds[index].leases.outstanding.isEmpty
        guard
          let record = rounds[index].leases.grant(
            to: candidate.id, atMost: limit, mustFit: number > 0, now: now,
            mayHave: { offer.mayHave($0, candidate.peer.party) },
            isWorthwhile: { isUrgent || seconds($0) < min(secondsLeft, shares.seconds + Double($0) / fastest) },
            expectedSeconds: seconds)
        else { break }
        taken += record.rows
        limit -= Double(record.rows)
        send(record, of: offer)
      }
    }
  }

  /// What each candidate could do, and from when on: what it is busy with still, the way to the weights, and the transfer.
  ///
  /// - Parameter told: who was told of the offer's weights when.
  func shareWorkers(
    _ candidates: [Candidate], offer: GradientOffer, told: [WorkerID: Duration], now: Duration
  ) -> [GradientShares.Worker] {
    let busy = occupation(now: now)
    // Gradients come some at a time: each waits for those before it.
    let atOnce = Self.transfersAtOnce(byteCount: offer.byteCount)
    let ahead = rounds.flatMap(\.leases.outstanding).count { $0.isComputed }
    return candidates.enumerated().map { position, candidate in
      let transfer = Double(offer.byteCount) / rates.bytesPerSecond(of: candidate.peer.incarnation)
      return GradientShares.Worker(
        rowsPerSecond: rowsPerSecond(of: candidate),
        delaySeconds: max(0, busy[candidate.id]?.seconds ?? 0)
          + secondsUntilReady(candidate, for: offer, told: told[candidate.id], now: now)
          + transfer * Double(1 + (ahead + position) / atOnce))
    }
  }

  /// Says that a lease is lent.
  mutating func send(_ record: GradientLeaseRecord, of offer: GradientOffer) {
    let party = peers[record.worker]?.party
    if let index = index(of: record.id), let party { rounds[index].holders[record.id] = party }
    var offer = offer
    offer.learnerRowsPerSecond = (rates.learnerRowsPerSecond ?? 0) / Double(max(1, options.learnerThreads))
    outgoing.append(
      (
        record.worker,
        .gradientGrant(
          offer.grant(id: record.id, leaves: record.leaves, deadline: options.leaseDuration, to: party))
      ))
  }
}
